//! Where an OpenAI-style service is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::secret::Secret;

/// The address of an OpenAI-style service, without its credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https`, and not `http`.
    pub secure: bool,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    base: String,
    chat: String,
    query: String,
    /// The value of an `Authorization` header, from the user-info of the URL.
    pub basic: Option<Secret>,
    /// The user-info in every form in which somebody may repeat it, the longest first.
    secrets: Vec<Secret>,
}

impl Endpoint {
    /// Takes a URL apart: a base such as `https://api.moonshot.ai/v1`, a full one that ends in
    /// `/completions`, or one without a path, to which `/v1` is added.
    ///
    /// # Errors
    /// What is wrong with it, in words that never repeat the URL: it may hold credentials.
    pub fn parse(url: &str) -> Result<Endpoint, &'static str> {
        let url = url.trim();
        // RFC 3986 has no place for these.
        let stray = |b: u8| !b.is_ascii_graphic() || br#"\"<>{}|^`"#.contains(&b);
        if url.bytes().any(stray) {
            return Err("it holds characters that have to be percent-encoded");
        }
        let (scheme, rest) = url.split_once("://").ok_or("it does not begin with http:// or https://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err("it does not begin with http:// or https://"),
        };
        let rest = rest.split('#').next().unwrap_or("");
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (userinfo, place) = authority.rsplit_once('@').map_or((None, authority), |(u, p)| (Some(u), p));
        let (host, port) = host_and_port(place)?;
        let path = path.trim_end_matches('/');
        let (base, chat) = match path {
            "" => ("/v1".to_owned(), "/v1/chat/completions".to_owned()),
            _ if path.ends_with("/completions") => {
                let base = path.strip_suffix("/completions").unwrap_or(path);
                (base.strip_suffix("/chat").unwrap_or(base).to_owned(), path.to_owned())
            }
            _ => (path.to_owned(), format!("{path}/chat/completions")),
        };
        let credentials = userinfo.map(Credentials::of).transpose()?.unwrap_or_default();
        Ok(Endpoint {
            secure,
            host,
            port: port.unwrap_or(if secure { 443 } else { 80 }),
            base,
            chat,
            query: query.to_owned(),
            basic: credentials.basic,
            secrets: credentials.secrets,
        })
    }

    /// Host and port as they stand in a URL.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// What must not be shown of what the other side says.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secrets.iter()
    }

    fn url(&self, path: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{scheme}://{}{path}{mark}{}", self.authority(), self.query)
    }

    /// The URL chat completions are posted to, without credentials.
    pub fn chat_url(&self) -> String {
        self.url(&self.chat)
    }

    /// The URL that lists the models, without credentials.
    pub fn models_url(&self) -> String {
        self.url(&format!("{}/models", self.base))
    }

    /// The address as it may be shown: no credentials, no query.
    pub fn shown(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.base)
    }
}

fn host_and_port(place: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("its IPv6 address has no closing bracket")?;
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| "what stands in its brackets is no IPv6 address")?;
            (host, after.strip_prefix(':').or(if after.is_empty() { Some("") } else { None }))
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, Some("")),
        },
    };
    let named = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'));
    if host.is_empty() || !named {
        return Err("it names no host");
    }
    match port {
        Some("") => Ok((host.to_ascii_lowercase(), None)),
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => {
                Ok((host.to_ascii_lowercase(), Some(number)))
            }
            _ => Err("its port is not a number from 1 to 65535"),
        },
        None => Err("it names no host"),
    }
}

/// The user-info of a URL.
#[derive(Default)]
struct Credentials {
    basic: Option<Secret>,
    secrets: Vec<Secret>,
}

impl Credentials {
    /// Makes the header of RFC 7617.
    fn of(userinfo: &str) -> Result<Credentials, &'static str> {
        let decoded =
            percent_decode(userinfo).ok_or("its user-info is not percent-encoded as it should be")?;
        let decoded = if decoded.contains(&b':') { decoded } else { [decoded.as_slice(), b":"].concat() };
        let encoded = STANDARD.encode(&decoded);
        let basic = Secret::new(format!("Basic {encoded}"));
        let pair = String::from_utf8_lossy(&decoded).into_owned();
        // A user without a password is a token.
        let password = pair.split_once(':').map(|(user, word)| if word.is_empty() { user } else { word });
        let password = password.unwrap_or_default().to_owned();
        let quoted = userinfo.split_once(':').map_or(userinfo, |(_, word)| word).to_owned();
        let mut secrets = vec![basic.clone()];
        secrets.extend([encoded, pair, password, quoted].map(Secret::new));
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Ok(Credentials { basic: Some(basic), secrets })
    }
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let digit = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16));
        decoded.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            other => other,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_and_full_urls() {
        for (url, chat, shown) in [
            (
                "https://api.moonshot.ai/v1",
                "https://api.moonshot.ai/v1/chat/completions",
                "https://api.moonshot.ai/v1",
            ),
            (
                "https://api.moonshot.ai/v1/",
                "https://api.moonshot.ai/v1/chat/completions",
                "https://api.moonshot.ai/v1",
            ),
            ("http://h:8004", "http://h:8004/v1/chat/completions", "http://h:8004/v1"),
            ("http://h/x/chat/completions", "http://h/x/chat/completions", "http://h/x"),
            ("http://h/v1/completions", "http://h/v1/completions", "http://h/v1"),
            (
                "HTTP://[::1]:80/v1?api-version=2#f",
                "http://[::1]/v1/chat/completions?api-version=2",
                "http://[::1]/v1",
            ),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.chat_url(), endpoint.shown()), (chat.into(), shown.into()), "{url}");
        }
        assert_eq!(
            Endpoint::parse("http://h/v1/chat/completions").unwrap().models_url(),
            "http://h/v1/models"
        );
    }

    #[test]
    fn credentials_go_into_a_header_and_nowhere_else() {
        let endpoint = Endpoint::parse("https://crown:p%40ss@h/v1").unwrap();
        assert_eq!(endpoint.basic.as_ref().unwrap().expose(), "Basic Y3Jvd246cEBzcw==");
        for shown in [endpoint.chat_url(), endpoint.shown(), format!("{endpoint:?}")] {
            assert!(!shown.contains("p%40ss") && !shown.contains("Y3Jvd"), "{shown}");
        }
        let secrets: Vec<&Secret> = endpoint.secrets().collect();
        let said = "no Y3Jvd246cEBzcw== of crown:p@ss, nor p@ss or p%40ss";
        assert_eq!(crate::clean(said, 300, &secrets), "no *** of ***, nor *** or ***");
    }

    #[test]
    fn what_is_no_endpoint() {
        for url in [
            "",
            "h:80",
            "ftp://h",
            "http://",
            "http://:80",
            "http://h:0",
            "http://h:99999",
            "http://h:+1",
            "http://a b",
            "http://h/\r\nX: 1",
            "http://[::1",
            "http://[x]/",
            "http://h\\@evil",
            "http://é",
            "http://u:%zz@h",
            "http://h,i",
            "http://h/{x}",
            "http://h/a|b^",
        ] {
            let error = Endpoint::parse(url).unwrap_err();
            assert!(!error.contains("evil"), "{url}");
        }
    }
}
