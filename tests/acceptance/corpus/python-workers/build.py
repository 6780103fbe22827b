"""Eight jobs for four processes, and eight for four threads."""

import multiprocessing
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed


def job(number: int) -> str:
    """Something that takes a moment and says who did it, when."""
    total = sum(value * value for value in range(1000 * number))
    name = threading.current_thread().name
    return f"{number} {total} {name} {os.getpid()} {random.random()} {time.time_ns()}"


if __name__ == "__main__":
    with multiprocessing.Pool(4) as pool:
        for line in pool.imap_unordered(job, range(8)):
            print(line)
    with ThreadPoolExecutor(4) as threads:
        for future in as_completed([threads.submit(job, number) for number in range(8)]):
            print(future.result())
