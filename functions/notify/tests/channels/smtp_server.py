"""A mail server for tests: aiosmtpd, with errors given by a JSON object on the command line.

Says on its output, a JSON value a line, first its port, then each e-mail that it takes, as Python's own parser reads it.
`reply` holds answers by command (MAIL, RCPT, DATA); `silent` = it never greets; `certificate` and `key` (files) = it
offers STARTTLS; `password` = it wants to be logged in to.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

WISHES = json.loads(sys.argv[1])
REPLY = WISHES.get("reply", {})


def say(value):
    print(json.dumps(value), flush=True)


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        if "MAIL" in REPLY:
            return REPLY["MAIL"]
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if "RCPT" in REPLY:
            return REPLY["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if "DATA" in REPLY:
            return REPLY["DATA"]
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": [[name.lower(), str(value)] for name, value in message.items()],
            "type": message.get_content_type(),
            "parts": parts,
            "encrypted": session.ssl is not None,
            "login": session.auth_data.login.decode() if session.auth_data else None,
        })
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    right = data.password.decode() == WISHES["password"]
    return AuthResult(success=right, handled=False, auth_data=data if right else None)


class Silent(asyncio.Protocol):
    pass


def protocol():
    if WISHES.get("silent"):
        return Silent()
    tls = None
    if "certificate" in WISHES:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(WISHES["certificate"], WISHES["key"])
    log_in = "password" in WISHES
    return SMTP(
        Handler(), hostname="mail.example.com", enable_SMTPUTF8=True, tls_context=tls, require_starttls=tls is not None,
        authenticator=authenticate if log_in else None, auth_required=log_in, auth_require_tls=tls is not None,
    )


async def main():
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    say(server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
