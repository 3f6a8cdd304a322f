//! What a bucket's policy denies everybody, below one prefix. Pure. It knows what only a denial
//! without an exception means: where it cannot tell, a denial counts as none.

use serde_json::Value;

/// The condition key of the header that asks for encryption.
const SSE_KEY: &str = "s3:x-amz-server-side-encryption";

/// Comparisons that are also true where the header is missing.
const TRUE_WITHOUT: [&str; 6] = [
    "StringNotEquals",
    "StringNotEqualsIfExists",
    "StringNotEqualsIgnoreCase",
    "StringNotEqualsIgnoreCaseIfExists",
    "StringNotLike",
    "StringNotLikeIfExists",
];

/// Whether a policy denies uploads that do not ask for encryption, to every object whose name
/// begins with `below` (`bucket/prefix/`).
pub(super) fn unencrypted(policy: &Value, below: &str) -> bool {
    let wanted = |operator: &str, key: &str, value: &Value| {
        key.eq_ignore_ascii_case(SSE_KEY)
            && (TRUE_WITHOUT.contains(&operator) || operator == "Null" && is_only(value, "true"))
    };
    denials(policy, &["s3:putobject", "s3:put*"], below).any(|denial| only(denial, wanted))
}

/// Whether it denies requests for those objects without TLS.
pub(super) fn plain_http(policy: &Value, below: &str) -> bool {
    let wanted = |operator: &str, key: &str, value: &Value| {
        matches!(operator, "Bool" | "BoolIfExists")
            && key.eq_ignore_ascii_case("aws:SecureTransport")
            && is_only(value, "false")
    };
    denials(policy, &[], below).any(|denial| only(denial, wanted))
}

/// Whether a statement has conditions, and none but such as `wanted`: they hold all together.
fn only(statement: &Value, wanted: impl Fn(&str, &str, &Value) -> bool) -> bool {
    let operators = statement["Condition"].as_object();
    let mut conditions = operators.into_iter().flatten().flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, value)| (operator, key, value))
    });
    let first = conditions.next();
    let holds = |(operator, key, value): (&String, &String, &Value)| wanted(operator, key, value);
    first.is_some_and(holds) && conditions.all(holds)
}

/// The statements that deny everybody one of `actions`, or everything, below a prefix.
fn denials<'a>(
    policy: &'a Value,
    actions: &'a [&str],
    below: &'a str,
) -> impl Iterator<Item = &'a Value> {
    each(&policy["Statement"]).filter(move |statement| {
        let principal = &statement["Principal"];
        let everybody = has(principal, "*") || has(&principal["AWS"], "*");
        let acts = |action: &Value| {
            let action = action.as_str().unwrap_or_default().to_lowercase();
            action == "*" || action == "s3:*" || actions.contains(&action.as_str())
        };
        let covers = |resource: &Value| resource.as_str().is_some_and(|of| covers(of, below));
        statement["Effect"] == "Deny"
            && everybody
            && each(&statement["Action"]).any(acts)
            && each(&statement["Resource"]).any(covers)
    })
}

/// Whether a resource (`arn:aws:s3:::bucket/pre*`) is all objects whose names begin with `below`.
fn covers(resource: &str, below: &str) -> bool {
    let pattern = match resource.split_once(":::") {
        Some((_, pattern)) => pattern,
        None if resource == "*" => resource,
        None => return false,
    };
    // A pattern that ends so, and fits the beginning, fits whatever comes after it.
    pattern.ends_with('*') && fits(pattern.as_bytes(), below.as_bytes())
}

/// Whether a text fits a pattern: `*` is any text, `?` any one byte.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where to go on when the text after the last `*` does not fit.
    let mut star = None;
    while at < text.len() {
        match pattern.get(from) {
            Some(b'*') => {
                star = Some((from + 1, at));
                from += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[at] => {
                (at, from) = (at + 1, from + 1);
            }
            _ => match star {
                Some((after, skipped)) => {
                    (at, from) = (skipped + 1, after);
                    star = Some((after, at));
                }
                None => return false,
            },
        }
    }
    pattern[from..].iter().all(|byte| *byte == b'*')
}

/// A policy writes one thing as itself and several as a list.
fn each(value: &Value) -> impl Iterator<Item = &Value> {
    let list = value.as_array();
    list.into_iter().flatten().chain(list.is_none().then_some(value))
}

/// Whether a value, or one of a list, is `wanted`.
fn has(value: &Value, wanted: &str) -> bool {
    each(value).any(|one| is(one, wanted))
}

/// Whether a value, or all of a list, is `wanted`.
fn is_only(value: &Value, wanted: &str) -> bool {
    each(value).next().is_some() && each(value).all(|one| is(one, wanted))
}

/// As text, or as what the text stands for.
fn is(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Bool(flag) => flag.to_string() == wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BELOW: &str = "b/photos/";

    fn deny(action: Value, principal: Value, condition: Value) -> Value {
        json!({ "Statement": [{ "Effect": "Deny", "Principal": principal, "Action": action,
            "Resource": "arn:aws:s3:::b/*", "Condition": condition }] })
    }

    #[test]
    fn a_policy_denies_only_what_it_denies_everybody() {
        let missing = || json!({ "Null": { SSE_KEY: "true" } });
        let other = || json!({ "StringNotEquals": { SSE_KEY: "AES256" } });
        let plain = || json!({ "Bool": { "aws:SecureTransport": "false" } });
        for (policy, without_key, without_tls) in [
            (deny(json!("s3:PutObject"), json!("*"), missing()), true, false),
            (deny(json!(["s3:GetObject", "s3:*"]), json!({ "AWS": "*" }), other()), true, false),
            (deny(json!("s3:GetObject"), json!("*"), missing()), false, false),
            // As MinIO writes back what it was given.
            (
                deny(
                    json!(["s3:*"]),
                    json!({ "AWS": ["*"] }),
                    json!({ "Bool": { "aws:SecureTransport": ["false"] } }),
                ),
                false,
                true,
            ),
            (deny(json!("s3:PutObject"), json!({ "AWS": "arn:x" }), missing()), false, false),
            (deny(json!("s3:*"), json!("*"), plain()), false, true),
            (deny(json!("s3:PutObject"), json!("*"), plain()), false, false),
            (json!({ "Statement": [] }), false, false),
        ] {
            assert_eq!(unencrypted(&policy, BELOW), without_key, "{policy}");
            assert_eq!(plain_http(&policy, BELOW), without_tls, "{policy}");
        }
    }

    #[test]
    fn a_denial_elsewhere_or_of_some_requests_only_is_none() {
        let both = json!({ "Null": { SSE_KEY: "true" }, "StringNotEquals": { SSE_KEY: "AES256" } });
        let narrowed = json!({ "Null": { SSE_KEY: "true" },
            "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } });
        let beside = json!({ "StringNotEquals": { SSE_KEY: "AES256", "aws:PrincipalArn": "x" } });
        for (condition, denied) in [(both, true), (narrowed, false), (beside, false)] {
            let policy = deny(json!("s3:PutObject"), json!("*"), condition);
            assert_eq!(unencrypted(&policy, BELOW), denied, "{policy}");
        }
        for (condition, denied) in [
            (json!({ "Bool": { "aws:SecureTransport": "false" } }), true),
            (
                json!({ "Bool": { "aws:SecureTransport": "false", "aws:ViaAWSService": "false" } }),
                false,
            ),
            (json!({ "Bool": { "aws:SecureTransport": ["true", "false"] } }), false),
            (json!({}), false),
        ] {
            let policy = deny(json!("s3:*"), json!("*"), condition);
            assert_eq!(plain_http(&policy, BELOW), denied, "{policy}");
        }
    }

    #[test]
    fn a_resource_covers_all_names_below_the_prefix_or_counts_as_none() {
        for (resource, below, covered) in [
            (json!("arn:aws:s3:::b/*"), BELOW, true),
            (json!("arn:aws-cn:s3:::b/photos/*"), BELOW, true),
            (json!("arn:aws:s3:::b/pho*"), BELOW, true),
            (json!(["arn:aws:s3:::b", "arn:aws:s3:::?/p*s/*"]), BELOW, true),
            (json!("*"), BELOW, true),
            (json!("arn:aws:s3:::b/*"), "b/", true),
            (json!("arn:aws:s3:::b/other/*"), BELOW, false),
            (json!("arn:aws:s3:::b/photos/a*"), BELOW, false),
            (json!("arn:aws:s3:::b/photos/*"), "b/", false),
            (json!("arn:aws:s3:::b/photos/"), BELOW, false),
            (json!("arn:aws:s3:::b"), BELOW, false),
            (json!("arn:aws:s3:::c/*"), BELOW, false),
            (Value::Null, BELOW, false),
        ] {
            let condition = json!({ "Null": { SSE_KEY: "true" } });
            let mut policy = deny(json!("s3:PutObject"), json!("*"), condition);
            policy["Statement"][0]["Resource"] = resource;
            assert_eq!(unencrypted(&policy, below), covered, "{policy}");
        }
    }
}
