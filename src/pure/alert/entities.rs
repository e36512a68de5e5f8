//! Reads the entities of an alert as observables, in the canonical form that the ledger has them in:
//! <https://learn.microsoft.com/en-us/azure/sentinel/entities-reference>.

use serde_json::Value;

use crate::pure::convert;
use crate::pure::stix::Observable;

/// Fields of an entity that hold files or hashes inline. What they hold by `$ref` stands in the list itself, or inline
/// where it was named first.
const INNER: [&str; 3] = ["FileHashes", "Files", "ImageFile"];

/// The observables that the entities are, one after the other.
pub(super) fn observables(entities: &str) -> Vec<Observable> {
    let entities = serde_json::from_str::<Vec<Value>>(entities).unwrap_or_default();
    entities.iter().flat_map(of_entity).collect()
}

/// Goes as deep as serde_json's limit lets a text be.
fn of_entity(entity: &Value) -> Vec<Observable> {
    let inner = INNER.iter().filter_map(|field| entity.get(field));
    own(entity).into_iter().chain(inner.flat_map(each).flat_map(of_entity)).collect()
}

fn own(entity: &Value) -> Vec<Observable> {
    let kind = text(entity, "Type").to_ascii_lowercase();
    let said = |kind, field| convert::said(kind, text(entity, field));
    match kind.as_str() {
        "ip" => said("ip-dst", "Address"),
        "url" => said("url", "Url"),
        "dns" => said("domain", "DomainName"),
        "filehash" => hash(text(entity, "Algorithm"), text(entity, "Value")),
        "registry-key" => registry_key(text(entity, "Hive"), text(entity, "Key")),
        "mailbox" => said("email-src", "MailboxPrimaryAddress"),
        "mail-message" => mail_message(entity),
        _ => Vec::new(),
    }
}

/// Rules of Microsoft map the indicator's own name of the algorithm, e.g. `SHA-256`. One that is `Unknown` shows by its
/// length.
fn hash(algorithm: &str, value: &str) -> Vec<Observable> {
    let kinds: &[&str] = match algorithm.replace(['-', '_'], "").to_ascii_lowercase().as_str() {
        "md5" => &["md5"],
        "sha1" => &["sha1"],
        "sha256" => &["sha256"],
        // The hash that Authenticode signs.
        "sha256ac" => &["authentihash"],
        "sha384" => &["sha384"],
        "sha512" => &["sha512"],
        "" | "unknown" => &["md5", "sha1", "sha256"],
        _ => &[],
    };
    kinds.iter().flat_map(|kind| convert::said(kind, value)).collect()
}

fn registry_key(hive: &str, key: &str) -> Vec<Observable> {
    convert::said("regkey", &format!(r"{hive}\{}", key.trim_start_matches('\\')))
}

/// Who sent it, from where, and its links. The recipient is the one attacked, and many mails share a subject.
fn mail_message(entity: &Value) -> Vec<Observable> {
    const FIELDS: [(&str, &str); 5] = [
        ("email-src", "Sender"),
        ("email-src", "P1Sender"),
        ("email-src", "P2Sender"),
        ("ip-src", "SenderIP"),
        ("email-message-id", "InternetMessageId"),
    ];
    let fields = FIELDS.iter().flat_map(|(kind, field)| convert::said(kind, text(entity, field)));
    let urls = entity.get("Urls").into_iter().flat_map(each).filter_map(Value::as_str);
    fields.chain(urls.flat_map(|url| convert::said("url", url))).collect()
}

/// The elements of a list; another value is its own only one.
fn each(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn text<'e>(entity: &'e Value, field: &str) -> &'e str {
    entity.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(entities: &str) -> Vec<(String, String)> {
        let pair = |observable: Observable| (observable.path.into_owned(), observable.value);
        observables(entities).into_iter().map(pair).collect()
    }

    fn is(entity: &str, path: &str, value: &str) {
        let list = format!("[{entity}]");
        assert_eq!(found(&list), [(path.to_owned(), value.to_owned())], "{entity}");
    }

    /// Fields and types as the reference documents them; `$id` and `$ref` are general knowledge.
    #[test]
    fn an_entity_is_an_observable_in_canonical_form() {
        is(r#"{"$id":"3","Address":"2001:DB8::1","Type":"ip"}"#, "ipv6-addr:value", "2001:db8::1");
        is(r#"{"Url":"HTTP://Evil.Example/A","Type":"url"}"#, "url:value", "http://evil.example/A");
        is(r#"{"DomainName":"Evil.Example","Type":"dns"}"#, "domain-name:value", "evil.example");
        is(
            r#"{"MailboxPrimaryAddress":"a@evil.example","Type":"mailbox"}"#,
            "email-addr:value",
            "a@evil.example",
        );
        is(
            r#"{"Hive":"HKEY_LOCAL_MACHINE","Key":"SOFTWARE\\Evil","Type":"registry-key"}"#,
            "windows-registry-key:key",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\Evil",
        );
    }

    #[test]
    fn a_hash_is_of_its_algorithm() {
        let (md5, sha256) = ("0a".repeat(16), "0B".repeat(32));
        let entity = |algorithm, value: &str| {
            format!(r#"{{"Algorithm":"{algorithm}","Value":"{value}","Type":"filehash"}}"#)
        };
        let lower = sha256.to_lowercase();
        is(&entity("SHA256", &sha256), "file:hashes.'SHA-256'", &lower);
        // As the built-in rules map it (general knowledge).
        is(&entity("SHA-256", &sha256), "file:hashes.'SHA-256'", &lower);
        is(&entity("SHA256AC", &sha256), "file:hashes.AUTHENTIHASH", &lower);
        is(&entity("Unknown", &md5), "file:hashes.MD5", &md5);
        assert_eq!(found(&format!("[{}]", entity("MD5", &sha256))), []);
    }

    /// The form with `$ref` was seen in a public repository.
    #[test]
    fn a_file_has_hashes_inline_or_elsewhere_in_the_list() {
        let hash = format!(
            r#"{{"$id":"8","Algorithm":"MD5","Value":"{}","Type":"filehash"}}"#,
            "0a".repeat(16)
        );
        let by_reference = r#"{"$id":"9","FileHashes":[{"$ref":"8"}],"Type":"file"}"#;
        assert_eq!(found(&format!("[{by_reference},{hash}]")).len(), 1);
        let inline = format!(r#"{{"$id":"9","FileHashes":[{hash}],"Type":"file"}}"#);
        is(&inline, "file:hashes.MD5", &"0a".repeat(16));
        let process = format!(r#"{{"ImageFile":{inline},"Type":"process"}}"#);
        is(&process, "file:hashes.MD5", &"0a".repeat(16));
    }

    #[test]
    fn of_a_mail_the_sender_counts_and_the_recipient_does_not() {
        let mail = r#"[{"Recipient":"me@here.example","Sender":"a@evil.example","SenderIP":"198.51.100.7",
            "Urls":["http://evil.example/x"],"Subject":"Your invoice","Type":"mail-message"}]"#;
        let values: Vec<_> = found(mail).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["a@evil.example", "198.51.100.7", "http://evil.example/x"]);
    }

    #[test]
    fn what_is_no_list_of_entities_has_none() {
        let others = ["", "{}", "[", "[1,null,[]]", r#"[{"Type":5,"Address":[]}]"#];
        let accounts = [r#"[{"Type":"account","Name":"a"},{"$ref":"2"},{"Type":"ip"}]"#];
        for text in others.iter().chain(&accounts) {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
