# Courier's queue and its SMTP server, as its own start scripts run them, the server in the foreground.
set -a
mkdir -p /run/courier
chown courier:courier /run/courier
. /etc/courier/courierd
( cd /usr && /usr/lib/courier/courier/courierd & )
. /etc/courier/esmtpd
PATH=/usr/sbin:$PATH
TLS_CERTFILE=/etc/courier/esmtpd.pem
ESMTP_TLS_VERIFY_DOMAIN=0
BOFHCHECKDNS=0
TARPIT=0
makesmtpaccess
mkdir -p /run/courier/authdaemon
authdaemond start
cd /usr
exec couriertcpd -user=$MAILUSER -group=$MAILGROUP -address=127.0.0.1 -access=/etc/courier/smtpaccess.dat \
    -nodnslookup -maxprocs=100 -maxperip=100 -maxperc=100 @port@ /usr/sbin/courieresmtpd
