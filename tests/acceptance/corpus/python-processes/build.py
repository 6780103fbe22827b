"""Four workers that report as they end."""

import multiprocessing
import os
import random
import time
from multiprocessing.queues import SimpleQueue


def job(number: int, reports: "SimpleQueue[str]") -> None:
    """Something that takes a moment and says who did it, when."""
    total = sum(value * value for value in range(20000 * (number % 3 + 1)))
    reports.put(f"{number} {total} {os.getpid()} {random.random()} {time.time_ns()}")


if __name__ == "__main__":
    reports = multiprocessing.SimpleQueue()
    workers = [multiprocessing.Process(target=job, args=(number, reports)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        print(reports.get())
    for worker in workers:
        worker.join()
