//! Redirects of Go's `ServeMux`: a path with `//`, `.` or `..` in it leads to the clean one, with the query kept.

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};

use super::{Body, full};

/// Where the JSON gateway is mounted.
const GATEWAY: &str = "/v3/";

/// The answer to a path that is not clean, or that lacks the slash of a mounted folder; `None` for any other.
pub(super) fn answer(request: &Request<()>, has_gateway: bool) -> Option<Response<Body>> {
    let path = request.uri().path();
    if *request.method() == Method::CONNECT {
        return None;
    }
    let mut clean = cleaned(path);
    if has_gateway && clean.strip_suffix('/').unwrap_or(&clean) == GATEWAY.trim_end_matches('/') {
        GATEWAY.clone_into(&mut clean);
    }
    if clean == path {
        return None;
    }
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    // As in Go, a path that is redirected has its percent signs escaped once more.
    let location = format!("{}{query}", clean.replace('%', "%25"));
    let body = match *request.method() {
        Method::GET => full(format!("<a href=\"{}\">Temporary Redirect</a>.\n\n", escaped(&location))),
        _ => Body::Empty,
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    // A path and a query are of printable ASCII, or they would not be here.
    headers.insert(LOCATION, HeaderValue::from_str(&location).ok()?);
    Some(response)
}

/// The shortest path that is equivalent: rooted, without empty parts, `.` and `..`. A trailing slash stays.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let slash = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{slash}", parts.join("/"))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_not_clean_is_redirected_with_its_query() {
        let check = |path: &str, expected: Option<&str>| {
            let request = Request::builder().method(Method::POST).uri(path).body(()).expect("it is a URI");
            let response = answer(&request, true);
            let location = response.as_ref().map(|response| {
                assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT);
                response.headers()[LOCATION].to_str().expect("it is text")
            });
            assert_eq!(location, expected, "{path}");
        };
        check("/v3/kv/put", None);
        check("/v3/kv/put/", None);
        check("/", None);
        check("/v3/", None);
        check("/v3", Some("/v3/"));
        check("//v3/kv/put?x=1&y=%20", Some("/v3/kv/put?x=1&y=%20"));
        check("//v3//kv/./put", Some("/v3/kv/put"));
        check("/v3/../health", Some("/health"));
        check("/../../health/", Some("/health/"));
        check("/v3/%2e%2e/health", None);
        check("/v3/a%20b//c", Some("/v3/a%2520b/c"));
    }

    #[test]
    fn the_gateway_has_no_folder_where_there_is_no_gateway() {
        let request = Request::builder().uri("/v3").body(()).expect("it is a URI");
        assert!(answer(&request, false).is_none());
    }
}
