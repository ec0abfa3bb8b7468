//! Which of a site's origins answer what. Pure.

use atoll_fallback::{Origin, OriginConfig};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request};
use serde::{Deserialize, Serialize};

use super::Asked;

/// Which origins answer the requests that fit. What is empty fits all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteConfig {
    /// Path as visitors write it; with `*` at its end, all that begin so.
    pub path: String,
    /// Hosts, in lower case and without port.
    pub hosts: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// A field that the request has (`X-Beta`), or has with this value (`X-Beta: yes`). Answers vary by it.
    pub header: String,
    /// Names of the origins.
    pub origins: Vec<String>,
    /// The path that they are asked for instead; a `*` at its end stands for what that of `path` stood for.
    pub rewrite: String,
}

/// A route as it is followed.
#[derive(Debug)]
pub(super) struct Route {
    /// Without its `*`.
    path: String,
    is_prefix: bool,
    hosts: Vec<String>,
    methods: Vec<Method>,
    header: Option<(HeaderName, Option<HeaderValue>)>,
    rewrite: Option<String>,
    /// Their places in the settings.
    pub(super) origins: Vec<usize>,
}

impl RouteConfig {
    /// Every problem of it, each naming its setting.
    pub(super) fn problems(&self, origins: &[OriginConfig]) -> Option<String> {
        Route::of(self, origins).err()
    }
}

impl Route {
    /// Reads what an operator wrote.
    ///
    /// # Errors
    /// What is wrong, naming the setting.
    pub(super) fn of(config: &RouteConfig, origins: &[OriginConfig]) -> Result<Self, String> {
        let sound =
            |path: &str| path.is_empty() || (path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()));
        if !sound(&config.path) || config.path.contains(['?', '#']) {
            return Err(format!("path: `{}` does not begin with a slash, or has bytes that no path has", config.path));
        }
        let (path, is_prefix) = split(&config.path);
        let (_, tail) = split(&config.rewrite);
        let rewrite = Some(config.rewrite.trim_end_matches('*').to_owned()).filter(|path| !path.is_empty());
        if !sound(&config.rewrite) || (rewrite.is_some() && (tail != is_prefix || path.is_empty())) {
            return Err(format!(
                "rewrite: `{}` does not fit `{}`: both end with `*`, or neither",
                config.rewrite, config.path
            ));
        }
        let methods = config.methods.iter().map(|name| {
            let upper = name.bytes().all(|byte| byte.is_ascii_uppercase());
            name.parse().ok().filter(|_| upper).ok_or_else(|| format!("methods: `{name}` is no method in capitals"))
        });
        let header = match config.header.split_once(':') {
            _ if config.header.is_empty() => None,
            None => Some((&*config.header, None)),
            Some((name, value)) => Some((name.trim(), Some(value.trim()))),
        };
        let wrong = || format!("header: `{}` is not like `X-Beta` or `X-Beta: yes`", config.header);
        let header = header.map(|(name, value)| {
            let value = value.map(|value| value.parse().map_err(|_| wrong())).transpose()?;
            Ok::<_, String>((name.parse().map_err(|_| wrong())?, value))
        });
        let named = |name: &String| {
            let is = |origin: &OriginConfig| Origin::parse(origin).is_ok_and(|origin| origin.name() == name);
            origins.iter().position(is).ok_or_else(|| format!("origins: the site has none of the name `{name}`"))
        };
        if config.origins.is_empty() {
            return Err("origins: is empty: nobody would answer".to_owned());
        }
        Ok(Self {
            path: path.to_owned(),
            is_prefix,
            hosts: config.hosts.clone(),
            methods: methods.collect::<Result<_, _>>()?,
            header: header.transpose()?,
            rewrite,
            origins: config.origins.iter().map(named).collect::<Result<_, _>>()?,
        })
    }

    /// The first that fits.
    pub(super) fn find<'a>(routes: &'a [Self], asked: &Asked) -> Option<&'a Self> {
        let head = (&asked.head.method, &asked.head.uri, &asked.head.headers);
        routes.iter().find(|route| route.fits(head, asked.authority()))
    }

    /// Whether one of them fits.
    pub(super) fn any_fits(routes: &[Self], head: (&Method, &Uri, &HeaderMap), authority: &str) -> bool {
        routes.iter().any(|route| route.fits(head, authority))
    }

    /// The field that it looks at.
    pub(super) fn field(&self) -> Option<&HeaderName> {
        self.header.as_ref().map(|(name, _)| name)
    }

    fn fits(&self, (method, uri, headers): (&Method, &Uri, &HeaderMap), authority: &str) -> bool {
        let path = uri.path();
        let path =
            if self.is_prefix { path.starts_with(&self.path) } else { self.path.is_empty() || path == self.path };
        let host = || crate::host::name_of(authority).unwrap_or_default();
        let of_method = self.methods.is_empty() || self.methods.contains(method);
        let field = self.header.as_ref().is_none_or(|(name, wanted)| {
            let mut values = headers.get_all(name).iter();
            values.any(|value| wanted.as_ref().is_none_or(|wanted| wanted == value))
        });
        let of_host = |name: &String| name.eq_ignore_ascii_case(host());
        path && of_method && field && (self.hosts.is_empty() || self.hosts.iter().any(of_host))
    }

    /// The request with the path that its origins know.
    pub(super) fn rewritten(&self, sent: &request::Parts) -> Option<request::Parts> {
        let target = sent.uri.path_and_query()?;
        let rest = target.as_str().strip_prefix(&*self.path)?;
        let target = PathAndQuery::try_from(format!("{}{rest}", self.rewrite.as_ref()?)).ok()?;
        let mut sent = sent.clone();
        sent.uri = Uri::from(target);
        Some(sent)
    }
}

/// A path without the `*` at its end, and whether it had one.
fn split(path: &str) -> (&str, bool) {
    path.strip_suffix('*').map_or((path, false), |path| (path, true))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn origins() -> Vec<OriginConfig> {
        let origin = |name: &str| OriginConfig {
            url: "http://127.0.0.1:1".to_owned(),
            name: name.to_owned(),
            ..OriginConfig::default()
        };
        vec![origin("a"), origin("b")]
    }

    fn config(path: &str, rewrite: &str) -> RouteConfig {
        let own = str::to_owned;
        RouteConfig { path: own(path), rewrite: own(rewrite), origins: vec![own("b")], ..RouteConfig::default() }
    }

    #[test]
    fn paths_methods_hosts_and_fields_are_looked_at() {
        let route = RouteConfig {
            hosts: vec!["a.example".to_owned()],
            methods: vec!["GET".to_owned()],
            header: "X-Beta: yes".to_owned(),
            ..config("/api/*", "")
        };
        let route = Route::of(&route, &origins()).unwrap();
        assert_eq!((&route.origins[..], route.field().unwrap().as_str()), (&[1][..], "x-beta"));
        let fits = |method: &str, uri: &str, host: &str, beta: &str| {
            let request = Request::builder().method(method).uri(uri).header("x-beta", beta);
            {
                let head = request.body(()).unwrap().into_parts().0;
                route.fits((&head.method, &head.uri, &head.headers), host)
            }
        };
        assert!(fits("GET", "/api/1?q", "A.example:80", "yes"));
        assert!(!fits("GET", "/api", "a.example", "yes") && !fits("POST", "/api/1", "a.example", "yes"));
        assert!(!fits("GET", "/api/1", "b.example", "yes") && !fits("GET", "/api/1", "a.example", "no"));
    }

    #[test]
    fn paths_are_rewritten() {
        for (path, rewrite, from, to) in [
            ("/api/*", "/v1/*", "/api/a?q=/api/", Some("/v1/a?q=/api/")),
            ("/api/*", "/*", "/api/a", Some("/a")),
            ("/a", "/b", "/a?q", Some("/b?q")),
            ("/api/*", "", "/api/a", None),
        ] {
            let route = Route::of(&config(path, rewrite), &origins()).unwrap();
            let sent = Request::get(from).body(()).unwrap().into_parts().0;
            let rewritten = route.rewritten(&sent).map(|sent| sent.uri.to_string());
            assert_eq!(rewritten.as_deref(), to, "{path} {rewrite}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let wrong = [
            config("api", ""),
            config("/a?b", ""),
            config("/a/*", "/b"),
            config("/a", "/b/*"),
            config("", "/b"),
            RouteConfig { methods: vec!["get".to_owned()], ..config("/a", "") },
            RouteConfig { header: "a b".to_owned(), ..config("/a", "") },
            RouteConfig { origins: vec!["c".to_owned()], ..config("/a", "") },
            RouteConfig { origins: Vec::new(), ..config("/a", "") },
        ];
        for config in wrong {
            assert!(config.problems(&origins()).is_some(), "{config:?}");
        }
    }
}
