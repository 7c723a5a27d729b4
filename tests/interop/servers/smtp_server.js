// nodemailer's smtp-server as a relay: STARTTLS, AUTH, and what it takes is passed on within the reply to the dot.
const [home, base, port, backend, user, password, recipients] = process.argv.slice(2);
const fs = require('fs');
const { createRequire } = require('module');
const need = createRequire(home + '/');
const { SMTPServer } = need('smtp-server');
const SMTPConnection = need('nodemailer/lib/smtp-connection');

function passOn(session, content, done) {
    const connection = new SMTPConnection({ port: Number(backend), host: '127.0.0.1', ignoreTLS: true });
    connection.on('error', done);
    connection.connect(() => {
        const { mailFrom, rcptTo } = session.envelope;
        const to = rcptTo.map(recipient => recipient.address);
        connection.send({ from: mailFrom.address || '', to }, content, error => {
            connection.quit();
            done(error);
        });
    });
}

function refusal(responseCode, message) {
    return Object.assign(new Error(message), { responseCode });
}

new SMTPServer({
    name: 'relay.nullmta.test',
    key: fs.readFileSync(`${base}/key.pem`),
    cert: fs.readFileSync(`${base}/cert.pem`),
    authMethods: ['PLAIN', 'LOGIN'],
    maxClients: 200,
    onAuth: (auth, session, done) =>
        auth.username === user && auth.password === password ? done(null, { user }) : done(new Error('no')),
    onRcptTo: (address, session, done) => {
        const full = session.envelope.rcptTo.length >= Number(recipients);
        if (address.address.startsWith('gone@')) done(refusal(550, 'no such user'));
        else done(full ? refusal(452, 'too many recipients') : null);
    },
    onData: (stream, session, done) => {
        const chunks = [];
        stream.on('data', chunk => chunks.push(chunk));
        stream.on('end', () => passOn(session, Buffer.concat(chunks), done));
    },
}).listen(Number(port), '127.0.0.1');
