// Haraka refuses one recipient, and all behind the allowed number.
exports.hook_rcpt = (next, connection, [recipient]) => {
    if (recipient.user === 'gone') return next(DENY, 'no such user');
    if (connection.transaction.rcpt_to.length > @recipients@) return next(DENYSOFT, 'too many recipients');
    next(OK);
};
