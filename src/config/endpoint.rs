//! Where a store answers: the row's template filled in, and what an endpoint may look like.

use std::net::IpAddr;

use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::provider::Provider;

/// Whether bytes may go over the network in plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlainHttp {
    Allowed,
    LoopbackOnly,
}

/// What fills the places of a template.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) region: Option<&'a str>,
    pub(super) account: Option<&'a str>,
    pub(super) namespace: Option<&'a str>,
}

/// Fills `{region}`, `{account}` and `{namespace}` of the row's endpoint.
pub(super) fn fill(row: &Provider, places: Places<'_>) -> Result<String> {
    let Some(template) = &row.endpoint else {
        return Err(Error::new(Kind::Config, "it does not say `endpoint`")
            .hint("add the server's address, as in `endpoint = \"https://minio.lab:9000\"`"));
    };
    let mut endpoint = template.clone();
    for (place, key, value) in [
        ("{region}", "region", places.region),
        ("{account}", "account", places.account),
        ("{namespace}", "namespace", places.namespace),
    ] {
        if endpoint.contains(place) {
            let value = value.ok_or_else(|| {
                Error::new(Kind::Config, format!("it does not say `{key}`"))
                    .hint(format!("add `{key} = \"…\"`: it is part of {template}"))
            })?;
            let plain = |each: char| each.is_ascii_alphanumeric() || each == '-';
            if value.is_empty() || !value.chars().all(plain) {
                let message = format!("`{key}` is no part of a host name: `{value}`");
                return Err(Error::new(Kind::Config, message));
            }
            endpoint = endpoint.replace(place, value);
        }
    }
    // Amazon's regions in China are a domain of their own.
    let in_china = places.region.is_some_and(|region| region.starts_with("cn-"));
    if in_china && template.contains("{region}") && endpoint.ends_with(".amazonaws.com") {
        endpoint.push_str(".cn");
    }
    Ok(endpoint)
}

/// Checks an endpoint and drops the slash at its end.
pub(super) fn check(endpoint: &str, plain_http: PlainHttp) -> Result<String> {
    let fault = |message: String, hint: &'static str| {
        Err(Error::new(Kind::Config, message).with("endpoint", endpoint).hint(hint))
    };
    let example = "write it as `https://HOST` or `https://HOST:PORT`";
    let Some((scheme, rest)) = endpoint.split_once("://") else {
        return fault("the endpoint has no scheme".to_owned(), example);
    };
    let host = host(rest);
    if rest.split('/').next().is_some_and(|authority| authority.contains('@')) {
        // Not `fault`: it would print the secret.
        return Err(Error::new(Kind::Config, "the endpoint holds a name or password")
            .hint("take it out, and give keys with `credentials`"));
    }
    if host.is_empty() || rest.contains(['?', '#', ' ']) {
        return fault("the endpoint is no plain address".to_owned(), example);
    }
    match scheme {
        "https" => {}
        "http" if plain_http == PlainHttp::Allowed || is_loopback(host) => {}
        "http" => {
            return fault(
                "the endpoint would send everything in plain text".to_owned(),
                "use https://, or set `plain-http = true` if that network is yours alone",
            );
        }
        other => return fault(format!("the endpoint's scheme `{other}` is unknown"), example),
    }
    Ok(endpoint.trim_end_matches('/').to_owned())
}

/// Whether the bytes to this endpoint leave the machine in plain text.
pub(super) fn is_exposed(endpoint: &str) -> bool {
    endpoint.strip_prefix("http://").is_some_and(|rest| !is_loopback(host(rest)))
}

fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or(six),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Matrix;

    #[test]
    fn plain_text_stays_on_this_machine_unless_allowed() {
        for fine in ["http://localhost:9000", "http://127.0.0.9", "http://[::1]:1", "https://a"] {
            assert_eq!(check(fine, PlainHttp::LoopbackOnly).unwrap(), fine);
        }
        for exposed in ["http://minio.lab:9000", "http://127.0.0.1.evil.org", "http://10.0.0.1"] {
            let error = check(exposed, PlainHttp::LoopbackOnly).unwrap_err();
            let sentence = "the endpoint would send everything in plain text";
            assert_eq!(error.to_string(), format!("{sentence} (endpoint {exposed})"));
            assert!(error.hint_text().unwrap().contains("plain-http = true"));
            assert!(check(exposed, PlainHttp::Allowed).is_ok());
            assert!(is_exposed(exposed));
        }
        assert_eq!(check("https://a:1/", PlainHttp::LoopbackOnly).unwrap(), "https://a:1");
    }

    #[test]
    fn an_endpoint_that_is_none_is_refused() {
        for (bad, sentence) in [
            ("minio.lab:9000", "has no scheme"),
            ("ftp://a", "scheme `ftp` is unknown"),
            ("https://", "no plain address"),
            ("https://a?b", "no plain address"),
        ] {
            let error = check(bad, PlainHttp::Allowed).unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
        let error = check("https://me:hunter2@a", PlainHttp::Allowed).unwrap_err();
        assert_eq!(error.to_string(), "the endpoint holds a name or password");
    }

    #[test]
    fn a_template_is_filled_or_says_what_is_missing() {
        let row = Matrix::builtin().unwrap().provider("oci").unwrap();
        let mut places = Places { region: Some("eu-1"), account: None, namespace: Some("acme") };
        assert_eq!(
            fill(&row, places).unwrap(),
            "https://acme.compat.objectstorage.eu-1.oraclecloud.com"
        );
        places.namespace = Some("evil.org/");
        assert!(fill(&row, places).unwrap_err().to_string().contains("no part of a host name"));
        places.namespace = None;
        assert_eq!(fill(&row, places).unwrap_err().to_string(), "it does not say `namespace`");
    }

    #[test]
    fn amazon_in_china_has_a_domain_of_its_own() {
        let filled = |row: &str, region| {
            let row = Matrix::builtin().unwrap().provider(row).unwrap();
            fill(&row, Places { region: Some(region), account: None, namespace: None }).unwrap()
        };
        for (row, region, endpoint) in [
            ("amazon-s3", "cn-north-1", "https://s3.cn-north-1.amazonaws.com.cn"),
            ("amazon-s3", "us-gov-west-1", "https://s3.us-gov-west-1.amazonaws.com"),
            ("amazon-s3", "eu-central-1", "https://s3.eu-central-1.amazonaws.com"),
            ("huawei-obs", "cn-north-4", "https://obs.cn-north-4.myhuaweicloud.com"),
        ] {
            assert_eq!(filled(row, region), endpoint);
        }
    }
}
