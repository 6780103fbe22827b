"""Addresses that repeat below set-user-ID programs: a fresh program is sent to ask for them.

The container's first process has asked for addresses that are not random (personality(2)), and its
descendants inherit that. But the kernel takes it from whoever starts a set-user-ID program, even
root, for whom that changes no rights (PER_CLEAR_ON_SETID in include/uapi/linux/personality.h;
bprm_fill_uid in fs/exec.c); setarch(8) drops it as well. All that sudo, su or setarch start would
have random addresses, and with them names of temporary files: glibc draws those from one.

Nobody but the process itself can ask again. So, while it waits in the exec hook, what follows its
system call becomes a jump to code in spare room of its vDSO. That asks, and makes the hook's call
once more, in which we put back what we replaced; then it jumps there. The program itself stays
where it is; what it starts is in its place again.
"""

from __future__ import annotations

from nsbuild.kernel.namespaces import ADDR_NO_RANDOMIZE
from nsbuild.kernel.process import read_small
from nsbuild.kernel.x86_64 import FAR_JUMP_SIZE, PERSONALITY_STUB_SIZE, far_jump, personality_stub

from .listener import Call
from .processes import Detour, Process


def begin(call: Call, process: Process, room: int) -> None:
    """Send the caller of ARCH_SET_FS to ask, if it has to; `room` is in its vDSO."""
    if process.detour is not None and process.detour.back == call.ip:
        # A signal has interrupted the call, which is made once more; all is there already.
        return
    persona = _persona(call)
    if persona is None or persona & ADDR_NO_RANDOMIZE:
        return
    memory = process.memory
    replaced = memory.read(call, call.ip, FAR_JUMP_SIZE)
    stub = personality_stub(persona | ADDR_NO_RANDOMIZE, call.ip)
    if len(replaced) < FAR_JUMP_SIZE or memory.force(call, room, stub) < len(stub):
        return
    if memory.force(call, call.ip, far_jump(room)) == FAR_JUMP_SIZE:
        again = room + PERSONALITY_STUB_SIZE - FAR_JUMP_SIZE
        process.detour = Detour(call.ip, replaced, again)


def end(call: Call, process: Process) -> bool:
    """If the caller has asked, let it go back to where it was; False if this is another call."""
    detour = process.detour
    if detour is None or call.ip != detour.again:
        return False
    process.memory.force(call, detour.back, detour.replaced)
    if call.resume():
        process.detour = None
    return True


def _persona(call: Call) -> int | None:
    """The caller's personality(2), None if it is not to be had."""
    try:
        text = read_small(f"{call.tid}/personality")
    except PermissionError:
        text = call.read_inside("personality")
    except OSError:
        return None
    return int(text, 16) if text else None
