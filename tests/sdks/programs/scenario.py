"""An application with Sentry's SDK, as its documentation shows it: scenario.py SCENARIO DSN."""

import logging
import sys

import sentry_sdk

scenario, dsn = sys.argv[1], sys.argv[2]
options = {"traces_sample_rate": 1.0} if scenario == "transaction" else {}
sentry_sdk.init(dsn=dsn, release="shop@1.2.3", environment="staging", **options)


class OrderRefused(Exception):
    pass


def charge(order):
    raise ConnectionError(f"payment gateway does not answer for order {order}")


def checkout(order):
    try:
        charge(order)
    except ConnectionError as error:
        raise OrderRefused(f"order {order} refused") from error


def fail(order=17):
    try:
        checkout(order)
    except OrderRefused as error:
        return sentry_sdk.capture_exception(error)


def fingerprinted(tenant):
    with sentry_sdk.new_scope() as scope:
        scope.fingerprint = ["{{ default }}", tenant]
        fail()


if scenario == "chained":
    sentry_sdk.set_tag("tenant", "acme")
    sentry_sdk.set_user({"id": "user-4711", "email": "ann@example.com"})
    sentry_sdk.add_breadcrumb(message="cart opened", category="ui")
    fail()
elif scenario == "message":
    sentry_sdk.capture_message("nightly import found no files", level="warning")
elif scenario == "logging":
    logging.getLogger("shop.stock").error("stock of %s is negative: %d", "bolts", -3)
elif scenario == "twice":
    fail(17)
    fail(18)
elif scenario == "fingerprints":
    fingerprinted("acme")
    fingerprinted("globex")
    fingerprinted("acme")
elif scenario == "attachment":
    with sentry_sdk.new_scope() as scope:
        scope.add_attachment(bytes=bytes(2_000_000), filename="core.bin")
        fail()
elif scenario == "transaction":
    with sentry_sdk.start_transaction(op="http.server", name="POST /checkout"):
        fail()
elif scenario == "check-in":
    from sentry_sdk.crons import monitor

    with monitor(monitor_slug="nightly-import"):
        pass
elif scenario == "unhandled":
    checkout(17)
else:
    raise SystemExit(f"no scenario {scenario}")

sentry_sdk.flush(10)
