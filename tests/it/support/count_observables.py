"""Counts the observables of recorded publications straight from MISP's JSON: which distinct things an
operator who changes nothing (but allows addresses that lead nowhere) has matched. Knows nothing of the
relay's code; prints a JSON object, count by file.

Usage: count_observables.py FILE..."""

import gzip
import ipaddress
import json
import re
import sys
from urllib.parse import urlsplit


def refang(text):
    return re.sub(r"\[\.\]|\(\.\)|\[dot\]", ".", re.sub(r"^hxxp", "http", text))


def address(text):
    network = ipaddress.ip_network(refang(text), strict=False)
    single = network.num_addresses == 1
    return ("address", str(network.network_address if single else network))


def name(text):
    return ("name", refang(text).encode("idna").decode().lower().rstrip("."))


def url(text):
    """As it was written, but for the port that the scheme implies."""
    text = refang(text)
    if "://" not in text:
        text = "http://" + text
    parts = urlsplit(text)
    host = parts.netloc.lower()
    host = host.removesuffix({"http": ":80", "https": ":443"}.get(parts.scheme, ":"))
    return ("url", text.replace(parts.netloc, host, 1))


def requested(text):
    """As a browser asks for it: no fragment, and a path (RFC 3986, 6.2.3)."""
    written = url(text)[1]
    parts = urlsplit(written)
    if parts.scheme not in ("http", "https", "ftp"):
        return ("url", written)
    return ("url", parts._replace(path=parts.path or "/", fragment="").geturl())


def mail(text):
    return ("mail", text.lower())


def lower(kind):
    return lambda text: (kind, text.lower())


def exact(kind):
    return lambda text: (kind, text)


# What one value is, by MISP's type; the rest is off by default, or nothing that can be matched.
ONE = {
    "ip-src": address, "ip-dst": address, "domain": name, "hostname": name, "url": url,
    "email-src": mail, "email-subject": exact("subject"),
    "mutex": exact("mutex"), "regkey": exact("key"), "user-agent": exact("agent"), "uri": exact("uri"),
    "AS": lambda text: ("as", text.upper().removeprefix("AS")),
    "mac-address": lambda text: ("mac", text.lower().replace("-", ":")),
    "ssdeep": exact("ssdeep"), "tlsh": lambda text: ("tlsh", "t1" + text.lower().removeprefix("t1")),
    "x509-fingerprint-sha1": lower("certificate-sha1"),
    "x509-fingerprint-sha256": lower("certificate-sha256"),
}
for hash_name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "imphash", "authentihash"):
    ONE[hash_name] = lower(hash_name)

HIVES = {"HKLM": "HKEY_LOCAL_MACHINE", "HKCU": "HKEY_CURRENT_USER"}


def observables(attribute):
    kind, value = attribute["type"], attribute["value"]
    if kind == "domain|ip":
        domain, ip = value.split("|")
        return {name(domain), address(ip)}
    if kind.endswith("|port"):
        return {ONE[kind.removesuffix("|port")](value.rsplit("|", 1)[0])}
    if kind == "malware-sample":
        kind = "filename|md5"
    if kind.startswith("filename|"):
        return {ONE[kind.split("|")[1]](value.rsplit("|", 1)[1])}
    if kind == "regkey":
        hive, _, rest = value.partition("\\")
        value = HIVES.get(hive.upper(), hive) + "\\" + rest
    if kind == "url":
        return {url(value), requested(value)}
    return {ONE[kind](value)} if kind in ONE else set()


def is_red(holder):
    return any(tag["name"].lower() == "tlp:red" for tag in holder.get("Tag", []))


def count(path):
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rb") as file:
        event = json.loads(file.read().split(b" ", 1)[1])["Event"]
    found = set()
    holders = [event] + [held for held in event.get("Object", []) if held["deleted"] not in (True, 1, "1")]
    for attribute in (one for holder in holders for one in holder["Attribute"]):
        counts = attribute["to_ids"] in (True, 1, "1") and attribute["deleted"] not in (True, 1, "1")
        if counts and not is_red(event) and not is_red(attribute):
            found |= observables(attribute)
    return len(found)


print(json.dumps({path: count(path) for path in sys.argv[1:]}))
