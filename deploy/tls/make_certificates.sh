#!/usr/bin/env bash
# Makes what TLS needs: a certificate authority (CA) of your own, and a key pair that it signed for each role.
set -euo pipefail

usage() {
    cat <<'END'
usage: make_certificates.sh FOLDER [DAYS] [ROLE...]

Writes into FOLDER (made with mode 0700):
  ca.pem, ca.key               the authority; ca.key makes new certificates, so keep it away from the cluster
  ROLE.pem, ROLE.key           for each ROLE, by default: scheduler worker client
  ROLE.yaml                    settings of Dask that name them (copy to ~/.config/dask/, or name it in DASK_CONFIG)
Keys are EC P-256 with mode 0600. Certificates hold from now for DAYS days (30), the authority's as long.
An authority that is in FOLDER already is used again, so that a ROLE can be added or made anew after its files were
removed. Nothing is overwritten: a ROLE whose files are there is refused.
END
}

fail() {
    echo "make_certificates.sh: error: $1" >&2
    exit "${2:-2}"
}

case ${1:-} in
-h | --help) usage && exit 0 ;;
"") usage >&2 && exit 2 ;;
-*) fail "unknown option '$1'; see --help" ;;
esac
folder=$1
days=${2:-30}
shift "$(($# < 2 ? $# : 2))"
[[ $days =~ ^[1-9][0-9]{0,4}$ ]] || fail "DAYS must be a whole number from 1 to 99999; got '$days'"
(($# > 0)) || set -- scheduler worker client
command -v openssl >/dev/null || fail "openssl is not installed" 1

umask 077
mkdir -p -- "$folder" || fail "folder '$folder' cannot be made" 1
chmod 0700 -- "$folder"
folder=$(cd -- "$folder" && pwd)
for role in "$@"; do
    [[ $role =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ && $role != ca ]] || fail "'$role' is no name for a ROLE"
    for file in "$role".{pem,key,yaml}; do
        [[ ! -e $folder/$file ]] || fail "$folder/$file is there already; remove it to make it anew"
    done
done
[[ -e $folder/ca.key || ! -e $folder/ca.pem ]] || fail "$folder holds ca.pem but not its key; bring ca.key, or remove ca.pem"
[[ -e $folder/ca.pem || ! -e $folder/ca.key ]] || fail "$folder holds ca.key but not its certificate; bring ca.pem, or remove ca.key"

work=$(mktemp -d "$folder/.making.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# What is made lies in $work until all of it is there: a script that is stopped leaves nothing half done.
if [[ -e $folder/ca.pem ]]; then
    openssl x509 -in "$folder/ca.pem" -noout -checkend "$((days * 86400))" >/dev/null ||
        fail "$folder/ca.pem ends before $days days are over; give fewer DAYS, or make a new authority in another folder"
    cp -- "$folder/ca.pem" "$folder/ca.key" "$work/"
else
    new_key "$work/ca.key"
    openssl req -x509 -new -key "$work/ca.key" -sha256 -days "$days" -subj "/CN=xpcs-dask CA $(date +%Y%m%d%H%M%S)" \
        -config <(printf '%s\n' '[req]' 'distinguished_name=name' '[name]') \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -addext "subjectKeyIdentifier=hash" -out "$work/ca.pem"
fi
for role in "$@"; do
    new_key "$work/$role.key"
    openssl req -new -key "$work/$role.key" -subj "/CN=$role" -out "$work/$role.csr" \
        -config <(printf '%s\n' '[req]' 'distinguished_name=name' '[name]')
    # Each process of Dask is asked (server) and asks others (client).
    openssl x509 -req -in "$work/$role.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -sha256 -days "$days" \
        -set_serial "0x01$(openssl rand -hex 15)" -out "$work/$role.pem" 2>/dev/null -extfile <(
            printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
                "extendedKeyUsage=serverAuth,clientAuth" "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid"
        )
    quoted=${folder//\'/\'\'} # as YAML writes a quote within quotes
    cat >"$work/$role.yaml" <<END
distributed:
  comm:
    require-encryption: true
    tls:
      ca-file: '$quoted/ca.pem'
      scheduler: {cert: '$quoted/$role.pem', key: '$quoted/$role.key'}
      worker: {cert: '$quoted/$role.pem', key: '$quoted/$role.key'}
      client: {cert: '$quoted/$role.pem', key: '$quoted/$role.key'}
END
    rm -- "$work/$role.csr"
done
[[ ! -e $folder/ca.pem ]] || rm -- "$work/ca.pem" "$work/ca.key"
chmod 0644 -- "$work"/*.pem
chmod 0600 -- "$work"/*.key
mv -n -- "$work"/* "$folder/"
echo "Certificates: $folder"
echo "Days: $days"
echo "Roles: $*"
