"""Runs every analytic rule on a workspace of a few rows: what must alarm does, and what must not does not.

    trial.py FOLDER, where FOLDER is `sentinel`

The rules run on DuckDB, which is not Kusto: duckdb-kql translates them, by what its makers measured on Microsoft's
emulator. It refuses what it cannot translate exactly. The functions that it lacks are given here.
"""

import ipaddress
import json
import pathlib
import re
import sys
from datetime import datetime, timedelta, timezone

import duckdb_kql
from duckdb_kql import engine
from duckdb_kql.translate import functions

TYPES = {
    "string": "VARCHAR", "long": "BIGINT", "int": "INTEGER", "bool": "BOOLEAN", "datetime": "TIMESTAMP",
    "dynamic": "JSON", "real": "DOUBLE",
}
NOW = datetime.now(timezone.utc).replace(tzinfo=None)
SOON = NOW + timedelta(days=30)
EVENT = "11111111-2222-4333-8444-555555555555"
UA = "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'"
RUN = r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
SHA256 = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"


def lies_in(one, other):
    """An address in a network, as ipv4_is_in_range() and ipv6_is_match() tell it."""
    try:
        return ipaddress.ip_address(one) in ipaddress.ip_network(other, strict=False)
    except ValueError:
        return None


def teach():
    """Gives the translator what it lacks."""
    scalar, aggregate = functions.SCALAR_FUNCTIONS, functions.AGGREGATE_FUNCTIONS
    for name in ("ipv6_is_match", "ipv4_is_in_range"):
        scalar[name] = functions.FunctionSpec(name, "udf", "lies_in({0}, {1})", (2,))
    scalar["row_number"] = functions.FunctionSpec("row_number", "template", "row_number() OVER ()")
    # Here every row is ingested when it is made.
    scalar["ingestion_time"] = functions.FunctionSpec("ingestion_time", "template", '"TimeGenerated"')
    aggregate["make_set_if"] = functions.AggregateSpec(
        "make_set_if", "to_json(coalesce(list_distinct(list({0}) FILTER (WHERE {1})), []))", (2, 3), name_prefix="set")


class Workspace:
    """The documented tables, and the rules prepared to run on them."""

    def __init__(self, folder):
        teach()
        self.connection = duckdb_kql.connect()
        self.connection.create_function("lies_in", lies_in, ["VARCHAR", "VARCHAR"], "BOOLEAN", null_handling="special")
        tables = json.loads((folder / "check/tables.json").read_text())["tables"]
        for name, table in tables.items():
            columns = (column.split(": ") for column in table["columns"].split(", "))
            wanted = ", ".join(f'"{column}" {TYPES[kind]}' for column, kind in columns)
            self.connection.sql(f'CREATE TABLE "{name}" ({wanted})')
        template = json.loads((folder / "azuredeploy.json").read_text())
        schema = engine.schema(self.connection)
        self.rules = sorted(path.stem for path in (folder / "Analytic Rules").glob("*.yaml"))
        for rule in self.rules:
            # Planning takes a second, so it is done once.
            self.connection.execute(f"PREPARE {rule} AS {duckdb_kql.to_sql(template['variables'][rule], schema=schema)}")
        self.details = next(
            resource["properties"]["customDetails"] for resource in template["resources"] if "kind" in resource
            and resource["kind"] == "Scheduled")
        self.filled = set()

    def empty(self):
        for table in self.filled:
            self.connection.execute(f'DELETE FROM "{table}"')
        self.filled.clear()

    def insert(self, table, **values):
        values = {"TimeGenerated": NOW - timedelta(minutes=5), **values}
        values = {name: json.dumps(value) if isinstance(value, (dict, list)) else value for name, value in values.items()}
        names = ", ".join(f'"{name}"' for name in values)
        places = ", ".join("?" for _ in values)
        self.connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({places})', list(values.values()))
        self.filled.add(table)

    def indicator(self, number, key, value, source="misp-sentinel-relay", **values):
        reference = {
            "source_name": "MISP", "description": "MISP event: Trial", "external_id": EVENT,
            "url": f"https://misp.example.org/events/view/{EVENT}",
        }
        self.insert("ThreatIntelIndicators", **{
            "Id": f"bWlzcA==---indicator--{number:08}-0000-4000-8000-000000000000", "SourceSystem": source,
            "ObservableKey": key, "ObservableValue": value, "IsActive": True, "IsDeleted": False, "Revoked": False,
            "Confidence": 51, "ValidUntil": SOON, "TimeGenerated": NOW - timedelta(hours=2), "Created": NOW,
            "AdditionalFields": {"TLPLevel": "green"},
            "Data": {"labels": ["tlp:green"], "external_references": [reference]}, **values,
        })

    def contacted(self, address):
        table, values = firewall(DestinationIP=address)
        self.insert(table, **values)

    def alerts(self, rule):
        result = self.connection.execute(f"EXECUTE {rule}")
        names = [column[0] for column in result.description]
        return [dict(zip(names, row)) for row in result.fetchall()]


def firewall(**values):
    return "CommonSecurityLog", {"SourceHostName": "pc1", "SourceIP": "10.0.0.1", "SourceUserName": "", **values}


def endpoint(**values):
    return "DeviceNetworkEvents", {
        "DeviceName": "pc1", "LocalIP": "10.0.0.1", "InitiatingProcessAccountUpn": "a@own.example",
        "ActionType": "ConnectionSuccess", "RemoteIP": "", "RemoteUrl": "", **values,
    }


def mail(**values):
    return "EmailEvents", {
        "DeliveryAction": "Delivered", "EmailDirection": "Inbound", "RecipientEmailAddress": "a@own.example",
        "SenderFromAddress": "", "SenderMailFromAddress": "", "SenderFromDomain": "", "SenderMailFromDomain": "",
        "SenderIPv4": "192.0.2.1", "Subject": "", "InternetMessageId": "", "NetworkMessageId": "m1", **values,
    }


def registry(key, value=""):
    return "DeviceRegistryEvents", {
        "DeviceName": "pc1", "InitiatingProcessAccountUpn": "", "RegistryKey": key, "RegistryValueName": value,
    }


def dns(name):
    return "DnsEvents", {"Name": name, "ClientIP": "10.0.0.1"}


def agent(text, account):
    return "SigninLogs", {"UserAgent": text, "UserPrincipalName": account, "IPAddress": "192.0.2.1", "ResultType": "0"}


def signin(address, result="0"):
    return "SigninLogs", {"IPAddress": address, "UserPrincipalName": "a@own.example", "ResultType": result}


# A rule, an indicator's kind and value, rows of logs, and the severity of the alert; None: there must be none.
CASES = [
    ("AddressInTraffic", "ipv4-addr:value", "198.51.100.7", [firewall(DestinationIP="198.51.100.7")], "Medium"),
    ("AddressInTraffic", "ipv4-addr:value", "198.51.100.7", [endpoint(RemoteIP="::ffff:198.51.100.7")], "Medium"),
    ("AddressInTraffic", "ipv6-addr:value", "2001:db8::ab", [endpoint(RemoteIP="2001:DB8:0:0::00AB")], "Medium"),
    ("AddressInTraffic", "ipv4-addr:value", "198.51.100.0/24", [firewall(DestinationIP="198.51.100.200")], "Medium"),
    ("AddressInTraffic", "ipv4-addr:value", "198.51.100.0/24", [endpoint(RemoteIP="::ffff:198.51.100.9")], "Medium"),
    ("AddressInTraffic", "ipv6-addr:value", "2001:db8:abcd::/48", [endpoint(RemoteIP="2001:DB8:ABCD::1")], "Medium"),
    ("AddressInTraffic", "ipv6-addr:value", "2001:db8:abcd::/48", [endpoint(RemoteIP="2001:db8:abce::1")], None),
    ("AddressInTraffic", "ipv4-addr:value", "198.51.100.0/24", [firewall(DestinationIP="198.51.101.1")], None),
    ("AddressInTraffic", "ipv4-addr:value", "198.0.0.0/8", [firewall(DestinationIP="198.51.100.1")], None),
    ("AddressInTraffic", "ipv6-addr:value", "2001::/16", [endpoint(RemoteIP="2001:db8::1")], None),
    ("AddressInTraffic", "ipv4-addr:value", "198.51.100.7", [firewall(SourceIP="198.51.100.7", DestinationIP="10.0.0.1")], None),
    ("AddressInTraffic", "ipv4-addr:value", "198.51.100.7",
     [endpoint(RemoteIP="198.51.100.7", ActionType="ConnectionFailed")], None),
    ("AddressInSignIns", "ipv4-addr:value", "198.51.100.7", [signin("198.51.100.7")], "Medium"),
    ("AddressInSignIns", "ipv6-addr:value", "2001:db8::/32", [signin("2001:db8::99", "50126")], "Low"),
    ("AddressInSignIns", "ipv4-addr:value", "198.51.100.7", [signin("198.51.100.7", "50076")], "Medium"),
    ("AddressInSignIns", "ipv4-addr:value", "198.51.100.7",
     [("OfficeActivity", {"ClientIP": "[::ffff:198.51.100.7]:443", "UserId": "a", "ResultStatus": "Succeeded", "Operation": "x"})],
     "Medium"),
    ("AddressInSignIns", "ipv4-addr:value", "198.51.100.7",
     [("OfficeActivity", {"ClientIP": "198.51.100.7:51000", "UserId": "a", "ResultStatus": "Succeeded", "Operation": "x"})],
     "Medium"),
    ("DomainInLogs", "domain-name:value", "evil.example", [dns("EVIL.example.")], "Medium"),
    ("DomainInLogs", "domain-name:value", "evil.example", [dns("www.evil.example")], "Medium"),
    ("DomainInLogs", "domain-name:value", "evil.example", [dns("a.b.evil.example")], "Low"),
    ("DomainInLogs", "domain-name:value", "evil.example", [endpoint(RemoteUrl="evil.example")], "Medium"),
    ("DomainInLogs", "domain-name:value", "evil.example", [firewall(RequestURL="evil.example/x?y=1")], "Medium"),
    ("DomainInLogs", "domain-name:value", "evil.example", [endpoint(RemoteUrl="https://u@Evil.example:8443/x")], "Medium"),
    ("DomainInLogs", "domain-name:value", "evil.example", [dns("notevil.example")], None),
    ("DomainInLogs", "domain-name:value", "a.evil.example", [dns("evil.example")], None),
    ("DomainInLogs", "domain-name:value", "evil.example", [firewall(RequestURL="good.example/evil.example")], None),
    ("UrlInLogs", "url:value", "https://evil.example/Path?A=b", [firewall(RequestURL="evil.example/Path?A=b")], "Medium"),
    ("UrlInLogs", "url:value", "https://evil.example/Path", [firewall(RequestURL='"http://EVIL.example:80/Path"')], "Medium"),
    ("UrlInLogs", "url:value", "http://evil.example", [endpoint(RemoteUrl="evil.example")], "Medium"),
    ("UrlInLogs", "url:value", "http://evil.example?x=1", [firewall(RequestURL="evil.example/?x=1")], "Medium"),
    ("UrlInLogs", "url:value", "http://evil.example/a#victim", [firewall(RequestURL="evil.example/a")], "Medium"),
    ("UrlInLogs", "url:value", "http://user:word@evil.example/a", [firewall(RequestURL="evil.example/a")], "Medium"),
    ("UrlInLogs", "url:value", "http://evil.example/@b", [firewall(RequestURL="evil.example/b")], None),
    ("UrlInLogs", "url:value", "http://evil.example/Path", [firewall(RequestURL="evil.example/path")], "Medium"),
    ("UrlInLogs", "url:value", "http://evil.example/path", [firewall(RequestURL="evil.example/PATH")], None),
    ("UrlInLogs", "url:value", "http://drive.example/bad", [endpoint(RemoteUrl="drive.example")], None),
    ("UrlInLogs", "url:value", "http://evil.example:8080/a", [firewall(RequestURL="evil.example/a")], None),
    ("FileHash", "file:hashes.'SHA-256'", SHA256,
     [("DeviceProcessEvents", {"SHA256": SHA256.upper(), "DeviceName": "pc1", "AccountUpn": ""})], "Medium"),
    ("FileHash", "file:hashes.'SHA-256'", SHA256, [("EmailAttachmentInfo", {"SHA256": SHA256})], "Medium"),
    ("FileHash", "file:hashes.AUTHENTIHASH", SHA256,
     [("SecurityEvent", {"EventID": 8003, "FileHash": SHA256.upper(), "Computer": "pc1"})], "Medium"),
    ("FileHash", "file:hashes.'SHA-256'", SHA256, [("SecurityEvent", {"EventID": 1, "FileHash": SHA256})], None),
    ("MailSender", "email-addr:value", "a@evil.example", [mail(SenderMailFromAddress="A@Evil.example")], "Medium"),
    ("MailSender", "domain-name:value", "evil.example", [mail(SenderFromDomain="evil.example")], "Medium"),
    ("MailSender", "email-addr:value", "a@evil.example",
     [mail(EmailDirection="Outbound", RecipientEmailAddress="a@evil.example", SenderFromAddress="b@own.example")], "Medium"),
    ("MailSender", "email-addr:value", "victim@own.example", [mail(RecipientEmailAddress="victim@own.example")], None),
    ("MailSender", "email-addr:value", "a@evil.example",
     [mail(SenderFromAddress="a@evil.example", DeliveryAction="Blocked")], None),
    ("MailLinks", "url:value", "https://evil.example/Path",
     [mail(), ("EmailUrlInfo", {"Url": "http://Evil.example/Path", "UrlDomain": "evil.example", "NetworkMessageId": "m1"})], "Medium"),
    ("MailLinks", "domain-name:value", "evil.example",
     [mail(), ("EmailUrlInfo", {"Url": "http://evil.example/x", "UrlDomain": "Evil.example", "NetworkMessageId": "m1"})], "Medium"),
    ("MailLinks", "domain-name:value", "evil.example",
     [mail(DeliveryAction="Blocked"),
      ("EmailUrlInfo", {"Url": "http://evil.example/x", "UrlDomain": "evil.example", "NetworkMessageId": "m1"})], None),
    ("MailSubject", "email-message:subject", "Overdue invoice 4711", [mail(Subject=" overdue INVOICE 4711")], "Low"),
    ("MailSubject", "email-message:message_id", "x1@evil.example", [mail(InternetMessageId="<x1@evil.example>")], "Medium"),
    ("MailSubject", "email-message:subject", "Invoice", [mail(Subject="Invoice")], None),
    ("MailSubject", "email-message:subject", "Overdue invoice 4711",
     [mail(Subject="Overdue invoice 4711", SenderIPv4=f"192.0.2.{n}") for n in range(60)], None),
    ("UserAgent", UA, "EvilBot/1.0 (x)", [agent("evilbot/1.0 (X)", "a")], "Low"),
    ("UserAgent", UA, "EvilBot/1.0 (x)", [("W3CIISLog", {"csUserAgent": "EvilBot/1.0+(x)", "cIP": "192.0.2.1"})], "Low"),
    ("UserAgent", UA, "Mozilla/5.0", [agent("Mozilla/5.0", f"user{n}") for n in range(11)], None),
    ("RegistryKey", "windows-registry-key:key", RUN + r"\Evil", [registry(RUN.lower(), "evil")], "Medium"),
    ("RegistryKey", "windows-registry-key:key", r"HKEY_CURRENT_USER\\Software\\Evil",
     [registry(r"HKEY_CURRENT_USER\S-1-5-21-1-2-3-1001\Software\Evil", "x")], "Medium"),
    ("RegistryKey", "windows-registry-key:key", r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\evil",
     [registry(r"HKEY_LOCAL_MACHINE\SYSTEM\ControlSet001\Services\evil")], "Medium"),
    ("RegistryKey", "windows-registry-key:key", r"HKLM\SOFTWARE\Evil",
     [("SecurityEvent", {"EventID": 4657, "ObjectName": r"\REGISTRY\MACHINE\SOFTWARE\WOW6432Node\Evil",
                         "ObjectValueName": "x", "Computer": "pc1", "SubjectUserName": "a"})], "Medium"),
    ("RegistryKey", "windows-registry-key:key", r"HKEY_CURRENT_USER\Software\Classes\CLSID\{1}",
     [registry(r"HKEY_CURRENT_USER\S-1-5-21-1-2-3-1001_Classes\CLSID\{1}")], "Medium"),
    ("RegistryKey", "windows-registry-key:key", r"HKEY_CURRENT_USER\Software\Evil",
     [registry(r"HKEY_USERS\S-1-12-1-1-2-3-4\Software\Evil", "x")], "Medium"),
    ("RegistryKey", "windows-registry-key:key", r"HKEY_CLASSES_ROOT\.evil",
     [registry(r"HKEY_LOCAL_MACHINE\SOFTWARE\Classes\.evil")], "Medium"),
    ("RegistryKey", "windows-registry-key:key", RUN, [registry(RUN, "OneDrive")], None),
    ("SigningCertificate", "x509-certificate:hashes.'SHA-1'", "0b48d5df660d7eae4d751fb0902c903ec767443b",
     [("DeviceFileCertificateInfo", {"DeviceName": "pc1", "SignerHash": "0B48D5DF660D7EAE4D751FB0902C903EC767443B"})], "Medium"),
]


def severities(alerts):
    return [alert["Severity"] for alert in alerts]


def trial(workspace, rule, key, value, rows, severity):
    """Runs one case; returns what is wrong with it."""
    workspace.empty()
    workspace.indicator(1, key, value)
    for table, values in rows:
        workspace.insert(table, **values)
    found = workspace.alerts(rule)
    if severities(found) != ([] if severity is None else [severity]):
        return f"{rule}, {value}: {found}"
    for alert in found:
        told = (alert["IndicatorId"], alert["MispEvent"], alert["MispEventName"], alert["Tlp"])
        if told != ("indicator--00000001-0000-4000-8000-000000000000", EVENT, "Trial", "green") \
                or not alert["MispLink"].endswith(EVENT) or EVENT not in alert["MispEvents"]:
            return f"{rule}, {value}: the alert does not tell of its indicator: {alert}"
        # Sentinel makes an entity of a key only together with its hive.
        if value.startswith("HKEY_") and (alert["Hive"], alert["Key"]) != tuple(re.split(r"\\+", value, maxsplit=1)):
            return f"{rule}, {value}: its entity is {alert['Hive']} and {alert['Key']}"
    return None


HALF_AN_HOUR_AGO = {"TimeGenerated": NOW - timedelta(minutes=30)}
ENDED = {"ValidUntil": NOW - timedelta(hours=1)}

# What becomes of an indicator by further rows of it, and the severity of what alarms then.
LIVES = [
    ("withdrawn by its end", [{**ENDED, **HALF_AN_HOUR_AGO}], None),
    ("revoked", [{"Revoked": True, **HALF_AN_HOUR_AGO}], None),
    ("withdrawn and live again", [{**ENDED, **HALF_AN_HOUR_AGO}, {"TimeGenerated": NOW - timedelta(minutes=20)}], "Medium"),
    ("more confident", [{"Confidence": 90, **HALF_AN_HOUR_AGO}], "High"),
]


def lives(workspace):
    for name, rows, severity in LIVES:
        workspace.empty()
        for row in [{}, *rows]:
            workspace.indicator(1, "ipv4-addr:value", "198.51.100.7", **row)
        workspace.contacted("198.51.100.7")
        found = severities(workspace.alerts("AddressInTraffic"))
        if found != ([] if severity is None else [severity]):
            yield f"{name}: {found}"


def others(workspace):
    """An indicator of another source, and one that Sentinel has not written for 14 days, are not ours to alarm on."""
    workspace.empty()
    workspace.indicator(1, "ipv4-addr:value", "198.51.100.7", source="another")
    workspace.indicator(2, "ipv4-addr:value", "198.51.100.7", TimeGenerated=NOW - timedelta(days=20))
    workspace.contacted("198.51.100.7")
    if found := workspace.alerts("AddressInTraffic"):
        yield f"not ours: {found}"


def many(workspace):
    """Sentinel makes an alert of each of 149 rows: of 200 indicators, the last row stands for 52, and names them."""
    workspace.empty()
    for number in range(200):
        workspace.indicator(number, "ipv4-addr:value", f"198.51.100.{number}")
        workspace.contacted(f"198.51.100.{number}")
    found = workspace.alerts("AddressInTraffic")
    ids = [each for alert in found for each in re.findall(r"indicator--[0-9a-f-]{36}", alert["AllIndicatorIds"])]
    if (len(found), len(ids), len(set(ids))) != (149, 200, 200):
        yield f"of 200 indicators: {len(found)} alerts, {len(ids)} ids, {len(set(ids))} different"
    if not any(alert["Title"].endswith(" and 51 more") for alert in found):
        yield f"no alert says that it stands for others: {[alert['Title'] for alert in found]}"


def two_forms(workspace):
    """A URL that the relay sends in two forms makes one alert."""
    workspace.empty()
    workspace.indicator(1, "url:value", "http://evil.example")
    workspace.indicator(2, "url:value", "http://evil.example/")
    table, values = firewall(RequestURL="evil.example/")
    workspace.insert(table, **values)
    if len(found := workspace.alerts("UrlInLogs")) != 1:
        yield f"one URL in two forms: {found}"


def details(workspace):
    """Sentinel drops what goes beyond 2 KB in all custom details of an alert, with their names."""
    workspace.empty()
    reference = {
        "source_name": "MISP", "description": "MISP event: " + 50 * "A long name ", "external_id": EVENT,
        "url": f"https://misp.example.org/events/view/{EVENT}",
    }
    labels = [f"misp-galaxy:threat-actor={number}" for number in range(50)]
    for number in range(200):
        path = f"{number}/" + 50 * "long/"
        data = {"labels": labels, "external_references": 10 * [reference]}
        workspace.indicator(number, "url:value", f"http://evil.example/{path}", Data=data)
        for machine in range(20 if number > 140 else 1):
            table, values = firewall(
                RequestURL=f"evil.example/{path}", SourceHostName=f"workstation{machine}", SourceUserName=f"user{machine}")
            workspace.insert(table, **values)
    for alert in workspace.alerts("UrlInLogs"):
        told = {name: [str(alert[column])] for name, column in workspace.details.items()}
        if (size := len(json.dumps(told, separators=(",", ":")))) > 2048:
            yield f"{size} bytes of details: {told}"
            return


def main(folder):
    workspace = Workspace(folder)
    faults = [fault for case in CASES if (fault := trial(workspace, *case))]
    for part in (lives, others, many, two_forms, details):
        faults.extend(part(workspace))
    silent = set(workspace.rules) - {rule for rule, *_, severity in CASES if severity}
    faults.extend(f"no case in which {rule} alarms" for rule in silent)
    for fault in faults:
        print(fault, file=sys.stderr)
    alarming = sum(severity is not None for *_, severity in CASES)
    print(f"{len(workspace.rules)} rules, {len(CASES)} cases, {alarming} of which alarm; {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
