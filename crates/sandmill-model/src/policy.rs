use serde::{Deserialize, Serialize};

/// A place that functions of a tenant may call over HTTP, if their manifest names it, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRule {
    /// Name of the host in lower case, exactly: there are no wildcards.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Methods in upper case.
    pub methods: Vec<String>,
}

impl HttpRule {
    /// What is wrong with it, if anything.
    pub fn flaw(&self) -> Option<String> {
        let host = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        let method =
            |m: &String| (1..=16).contains(&m.len()) && m.bytes().all(|b| b.is_ascii_uppercase());
        let shown = self.host.escape_debug();
        if !(1..=253).contains(&self.host.len()) || !self.host.bytes().all(host) {
            return Some(format!(
                "`{shown}` is no name of a host in lower case; there are no wildcards"
            ));
        }
        if self.port == 0 {
            return Some(format!("the port of `{shown}` must not be 0"));
        }
        if !(1..=8).contains(&self.methods.len()) || !self.methods.iter().all(method) {
            return Some(format!("`{shown}` must have 1 to 8 methods in upper case"));
        }
        None
    }

    /// Whether it permits this.
    pub fn permits(&self, method: &str, host: &str, port: u16) -> bool {
        self.host == host && self.port == port && self.methods.iter().any(|m| m == method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, port: u16, methods: &[&str]) -> HttpRule {
        HttpRule {
            host: host.into(),
            port,
            methods: methods.iter().map(|m| (*m).to_owned()).collect(),
        }
    }

    #[test]
    fn rules_name_one_place_exactly() {
        let good = rule("api.example.org", 443, &["GET", "POST"]);
        assert_eq!(good.flaw(), None);
        assert!(good.permits("GET", "api.example.org", 443));
        for (method, host, port) in [
            ("PUT", "api.example.org", 443),
            ("GET", "example.org", 443),
            ("GET", "api.example.org", 80),
        ] {
            assert!(!good.permits(method, host, port), "{method} {host} {port}");
        }
        for bad in [
            rule("*.example.org", 443, &["GET"]),
            rule("", 443, &["GET"]),
            rule("A.org", 443, &["GET"]),
            rule("[::1]", 443, &["GET"]),
            rule("a", 0, &["GET"]),
            rule("a", 1, &[]),
            rule("a", 1, &["get"]),
            rule("a", 1, &["GET"; 9]),
        ] {
            assert!(bad.flaw().is_some(), "{bad:?}");
        }
    }
}
