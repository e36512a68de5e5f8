#!/bin/sh
# Makes the certificates of the tests anew: for nothing but tests, with the password "sandbox".
set -e
cd "$(dirname "$0")"
new() { # name, subject, key options
    openssl req -x509 -newkey "$3" -nodes -keyout "$1.key" -out "$1.crt" -days 36500 -subj "/CN=$2" 2>/dev/null
}
new one "relay one" rsa:2048
new two "relay two" rsa:2048
openssl ecparam -name prime256v1 -genkey -noout -out ec.key
openssl pkcs8 -topk8 -nocrypt -in ec.key -out ec8.key
openssl req -x509 -new -key ec8.key -out ec.crt -days 36500 -subj "/CN=relay ec"
touch index.txt
openssl req -new -key one.key -subj "/CN=relay past" -out past.csr
printf '[ca]\ndefault_ca=a\n[a]\ndatabase=index.txt\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n' > ca.cnf
openssl ca -batch -config ca.cnf -selfsign -keyfile one.key -in past.csr -notext -out past.crt \
    -startdate 20200101000000Z -enddate 20210101000000Z 2>/dev/null

cat one.key one.crt > one.pem
cat two.crt two.key > two.pem
{ openssl rsa -in one.key -traditional 2>/dev/null; cat one.crt; } > one-pkcs1.pem
{ cat one.crt; openssl pkcs8 -topk8 -in one.key -passout pass:sandbox; } > one-encrypted.pem
cat one.key two.crt > mismatch.pem
cat one.key two.crt one.crt > chain.pem
cat ec8.key ec.crt > ec.pem
cat one.key past.crt > past.pem
openssl pkcs12 -export -inkey one.key -in one.crt -passout pass:sandbox -out one-modern.p12
openssl pkcs12 -export -legacy -inkey one.key -in one.crt -passout pass:sandbox -out one-legacy.p12
openssl pkcs12 -export -inkey one.key -in one.crt -certfile two.crt -name relay -passout pass: -out one-chain.p12
openssl pkcs12 -export -nokeys -in one.crt -passout pass:sandbox -out no-key.p12
openssl x509 -in one.crt -outform DER | openssl dgst -sha256 -binary | openssl base64 -A |
    tr '+/' '-_' | tr -d '=' > one.thumbprint
openssl rsa -in one.key -pubout -out one.pub 2>/dev/null
rm -f *.key ec.crt past.crt past.csr ca.cnf index.txt* [0-9A-F]*.pem
