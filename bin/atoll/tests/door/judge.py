"""REDbot looks at an answer of ours: it asks again in other ways (ranges, conditions, codings) and notes what is wrong with what comes back.

    judge.py URL

Every host is this machine. It prints JSON: the status, what is supported, and each note with its level and the check that led to it.
"""

import json
import socket
import sys
from configparser import ConfigParser

import thor
import thor.dns
from redbot.resource import HttpResource

# Names under localhost are not known to every machine.
thor.dns._lookup = lambda host, port, kind: [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]


def notes(linter):
    for note in linter.notes:
        yield note
        yield from note.subnotes


def judge(url):
    config = ConfigParser()
    config.read_dict({"redbot": {"enable_local_access": "True"}})
    resource = HttpResource(config["redbot"])
    resource.set_request(url)
    thor.events.on(resource, "check_done")(thor.stop)
    resource.check()
    thor.run()
    asked = {"first": resource, **resource.subreqs}
    errors = {check: one.fetch_error for check, one in asked.items() if one.fetch_error is not None}
    if errors:
        sys.exit(f"{url}: {errors}")
    found = [
        {"check": check, "level": note.level.value, "note": type(note).__name__, "summary": note.summary}
        for check, one in asked.items()
        for note in notes(one.response)
    ]
    support = {name: getattr(resource, f"{name}_support") for name in ["partial", "inm", "ims", "gzip"]}
    print(json.dumps({"status": resource.response.status_code, "support": support, "notes": found}))


judge(sys.argv[1])
