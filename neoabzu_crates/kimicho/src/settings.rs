//! What a client needs to know, and where it comes from.

use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::secret::Secret;

/// The model that is asked for unless another is configured: the open weights, under their own name.
pub const DEFAULT_MODEL: &str = "moonshotai/Kimi-K2-Instruct";

/// Where a service is and how it is asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How messages call the other side.
    pub name: String,
    pub endpoint: Endpoint,
    pub key: Option<Secret>,
    /// The model asked for, unless the request names one.
    pub model: Option<String>,
    /// Limit on one request, from the look-up of the name to the last byte of the answer.
    pub timeout: Duration,
    /// How often a request is made again, all within three times the timeout.
    pub retries: u32,
    /// Whether tool calls written as text are read even where no tools were offered.
    pub marked: bool,
}

impl Settings {
    /// Settings for Kimi K2: what is given, else `KIMI2_ENDPOINT` (or the older `KIMI_K2_URL`),
    /// `KIMI2_API_KEY` and `KIMI2_MODEL`.
    ///
    /// # Errors
    /// [`crate::Kind::Configuration`] without an endpoint, or with one that is none; the message does
    /// not repeat it.
    pub fn for_k2(
        endpoint: Option<&str>,
        key: Option<&str>,
        model: Option<&str>,
        timeout: Duration,
        environ: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Settings, Error> {
        let variable = |name: &str| environ(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let given = |value: Option<&str>| value.map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let (place, url) = match given(endpoint) {
            Some(url) => ("the endpoint", url),
            None => match (variable("KIMI2_ENDPOINT"), variable("KIMI_K2_URL")) {
                (Some(url), _) => ("KIMI2_ENDPOINT", url),
                (None, Some(url)) => ("KIMI_K2_URL", url),
                (None, None) => {
                    return Err(Error::configuration(
                        "no endpoint for Kimi K2: give one, or set KIMI2_ENDPOINT to a URL such as https://api.moonshot.ai/v1",
                    ));
                }
            },
        };
        let endpoint = Endpoint::parse(&url).map_err(|fault| {
            Error::configuration(format!("{place} is not a URL that can be used: {fault}"))
        })?;
        let model = given(model).or_else(|| variable("KIMI2_MODEL"));
        Ok(Settings {
            name: "Kimi K2".to_owned(),
            endpoint,
            key: given(key).or_else(|| variable("KIMI2_API_KEY")).map(Secret::new),
            model: Some(model.unwrap_or_else(|| DEFAULT_MODEL.to_owned())),
            timeout,
            retries: 2,
            marked: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoint: Option<&str>, environ: &[(&str, &str)]) -> Result<Settings, Error> {
        let environ = |name: &str| environ.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::for_k2(endpoint, None, None, Duration::from_secs(1), &environ)
    }

    #[test]
    fn the_newer_variable_wins_and_an_argument_wins_over_both() {
        let both = [("KIMI2_ENDPOINT", "http://new"), ("KIMI_K2_URL", "http://old"), ("KIMI2_MODEL", "k")];
        assert_eq!(settings(None, &both).unwrap().endpoint.host, "new");
        assert_eq!(settings(None, &both[1..]).unwrap().endpoint.host, "old");
        assert_eq!(settings(Some("http://given"), &both).unwrap().endpoint.host, "given");
        assert_eq!(settings(None, &both).unwrap().model.as_deref(), Some("k"));
        assert_eq!(settings(None, &both[..2]).unwrap().model.as_deref(), Some(DEFAULT_MODEL));
    }

    #[test]
    fn a_bad_endpoint_is_told_by_the_name_of_its_variable_alone() {
        let error = settings(None, &[("KIMI2_ENDPOINT", "http://user:pa55word@")]).unwrap_err();
        assert!(
            error.message.starts_with("KIMI2_ENDPOINT is not") && !error.message.contains("pa55"),
            "{error}"
        );
        assert!(settings(None, &[("KIMI2_ENDPOINT", " ")]).unwrap_err().message.contains("KIMI2_ENDPOINT"));
    }
}
