# One instance for TLS 1.2, and one for TLS 1.3. The home directories belong to the user who holds the mail.
set -e
install -d -o mail -g mail /srv/home
OPENSSL_CONF=/srv/openssl.cnf dovecot -F -c /srv/old.conf &
exec dovecot -F -c /srv/new.conf
