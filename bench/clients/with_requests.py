"""Python's requests: one session, whose connection is kept; one call at a time."""
import sys
import time

import requests

session = requests.Session()
session.headers.update({"Authorization": "Bearer dpg_api_live_bench", "Accept": "application/json"})


def perform(count, what, url):
    for _ in range(count):
        answer = session.get(url, verify=sys.argv[1])
        answer.raise_for_status()
        if what == "decoded":
            answer.json()
        else:
            len(answer.content)


print("ready requests", requests.__version__, flush=True)
for line in sys.stdin:
    count, at_once, protocol, what, url = line.split()
    if at_once != "1" or protocol == "h2" or what == "fields":
        print("no", flush=True)
        continue
    began = time.process_time()
    perform(int(count), what, url)
    print("%.9f" % (time.process_time() - began), flush=True)
