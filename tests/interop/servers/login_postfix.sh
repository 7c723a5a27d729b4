# Postfix, and beside it Dovecot's auth service where that is its SASL.
set -e
[ ! -e @base@/dovecot.conf ] || dovecot -F -c @base@/dovecot.conf &
exec postfix -c @base@/postfix/etc start-fg
