// oidc-provider as the token endpoint: HTTPS on a port of loopback, clients by secret, by certificate (private_key_jwt) and
// public, refresh tokens that are replaced at each use, logins by device code, and JWT bearer for service accounts. It checks
// all of that itself; of JWT bearer, which it has not, jose checks the signature. Each answer of /token is a line in
// grants.jsonl. While the file `hold` exists, an answer of /token is ready and not sent; while `hold-introspection` exists, no
// relay is told what a token is worth, and the file `introspected` says that one has asked.
import { createPublicKey } from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [home, base, port] = process.argv.slice(2);
const load = async path => import(pathToFileURL(path));
const { default: Provider, errors } = await load(`${home}/node_modules/oidc-provider/lib/index.js`);
const jose = await load(createRequire(`${home}/`).resolve('jose'));

const settings = JSON.parse(fs.readFileSync(`${base}/oauth.json`, 'utf8'));
const issuer = `https://localhost:${port}`;
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const keyOf = file => createPublicKey(fs.readFileSync(file));

// A client of the settings, as oidc-provider wants it.
function registered({ certificate, ...client }) {
    const jwks = certificate && { keys: [{ ...keyOf(certificate).export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] };
    return { redirect_uris: [], response_types: [], ...client, ...(jwks && { jwks }) };
}

const provider = new Provider(issuer, {
    clients: settings.clients.map(registered),
    scopes: ['openid', 'offline_access', 'smtp.send'],
    features: {
        clientCredentials: { enabled: true },
        deviceFlow: { enabled: true },
        devInteractions: { enabled: true },
        introspection: { enabled: true, allowedPolicy: () => true },
        revocation: { enabled: true, allowedPolicy: () => true },
    },
    rotateRefreshToken: true,
    ttl: { AccessToken: settings.lifetime, ClientCredentials: settings.lifetime },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    // What the relay knows the mailbox by.
    extraTokenClaims: (_, token) => ({ username: token.accountId ?? settings.mailbox }),
    cookies: { keys: ['interop'] },
});

provider.registerGrantType(JWT_BEARER, async ctx => {
    const { client, params } = ctx.oidc;
    const { key, scope } = settings.accounts[client.clientId];
    const checks = { issuer: client.clientId, audience: `${issuer}/token`, algorithms: ['RS256'], maxTokenAge: '10m' };
    const { payload } = await jose.jwtVerify(params.assertion, keyOf(key), checks).catch(error => {
        throw new errors.InvalidGrant(error.message);
    });
    if (payload.scope !== scope) throw new errors.InvalidScope('not delegated', payload.scope);
    const token = new provider.AccessToken({ client, accountId: payload.sub, scope, gty: 'jwt' });
    ctx.body = { access_token: await token.save(), expires_in: token.expiration, token_type: 'Bearer' };
}, ['assertion', 'scope']);

async function text(stream) {
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
}

async function whileThereIs(name) {
    while (fs.existsSync(`${base}/${name}`)) await new Promise(resolve => setTimeout(resolve, 20));
}

provider.use(async (ctx, next) => {
    if (ctx.path === '/token/introspection') {
        fs.writeFileSync(`${base}/introspected`, '');
        await whileThereIs('hold-introspection');
    }
    if (ctx.method !== 'POST' || ctx.path !== '/token') return next();
    const form = Object.fromEntries(new URLSearchParams(await text(ctx.req)));
    // RFC 7523 2.1 names the client in the assertion alone.
    const client_id = form.client_id ?? (form.assertion && jose.decodeJwt(form.assertion).iss);
    ctx.req.body = { ...form, client_id };
    await next();
    fs.appendFileSync(`${base}/grants.jsonl`, `${JSON.stringify({ form, status: ctx.status, reply: ctx.body })}\n`);
    await whileThereIs('hold');
});

const identity = { key: fs.readFileSync(`${base}/key.pem`), cert: fs.readFileSync(`${base}/cert.pem`) };
https.createServer(identity, provider.callback()).listen(Number(port), '127.0.0.1');
