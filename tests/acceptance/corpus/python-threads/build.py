"""Eight jobs for four threads."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed


def job(number: int) -> str:
    """Something that takes a moment and says who did it, when."""
    total = sum(value * value for value in range(3000 * number))
    name = threading.current_thread().name
    return f"{number} {total} {name} {threading.get_native_id()} {random.random()} {time.time_ns()}"


with ThreadPoolExecutor(4) as threads:
    for future in as_completed([threads.submit(job, number) for number in range(8)]):
        print(future.result())
