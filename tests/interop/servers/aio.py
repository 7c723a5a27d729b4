"""aiosmtpd as a relay: STARTTLS, AUTH, and what it takes is passed on within the reply to the dot."""

import asyncio
import smtplib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

base, port, backend, user, password, recipients = sys.argv[1:]


class PassOn:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 no such user"
        if len(envelope.rcpt_tos) >= int(recipients):
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        await asyncio.to_thread(self._send, envelope)
        return "250 2.0.0 taken"

    @staticmethod
    def _send(envelope):
        with smtplib.SMTP("127.0.0.1", int(backend), timeout=30) as client:
            client.sendmail(envelope.mail_from or "", envelope.rcpt_tos, envelope.original_content)


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (user.encode(), password.encode()))


async def serve():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{base}/cert.pem", f"{base}/key.pem")
    loop = asyncio.get_running_loop()

    def session():
        return SMTP(
            PassOn(), hostname="relay.nullmta.test", tls_context=context, require_starttls=True, auth_required=True,
            authenticator=authenticate, enable_SMTPUTF8=True, data_size_limit=60_000_000, loop=loop,
        )

    server = await loop.create_server(session, "127.0.0.1", int(port))
    await server.serve_forever()


asyncio.run(serve())
