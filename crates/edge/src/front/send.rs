//! From a request for a site to the origins that it is for.

use atoll_fallback::{Answer, Call, OriginError, Upload};
use http::{HeaderValue, header, request};

use super::routes::Route;
use super::{Asked, Front, early};

impl Front {
    /// Sends a request to the origins that it is for.
    pub(super) async fn send(
        &self,
        asked: &Asked,
        sent: &request::Parts,
        body: Option<Upload>,
    ) -> Result<Answer, OriginError> {
        self.send_as(asked, sent, body, false).await
    }

    /// Sends one that changes something although it is a GET.
    pub(super) async fn send_once(&self, asked: &Asked, sent: &request::Parts) -> Result<Answer, OriginError> {
        self.send_as(asked, sent, None, true).await
    }

    async fn send_as(
        &self,
        asked: &Asked,
        sent: &request::Parts,
        body: Option<Upload>,
        once: bool,
    ) -> Result<Answer, OriginError> {
        let route = Route::find(&self.routes, asked);
        let rewritten = route.and_then(|route| route.rewritten(sent));
        let hop = asked.client.hop(&self.name, &asked.host, asked.https);
        let call = Call {
            head: rewritten.as_ref().unwrap_or(sent),
            hop: &hop,
            body,
            among: route.map_or(&[], |route| &route.origins),
            hints: asked.heard_as.map(|turn| early::hints(&asked.client, turn)),
            patience: &asked.client.patience,
            expects: asked.expects,
            once,
        };
        // Boxed, since it is large, and would be moved with whatever waits for it.
        let mut response = Box::pin(self.origins.send(call)).await?;
        for name in self.routes.iter().filter_map(Route::field) {
            response.headers_mut().append(header::VARY, HeaderValue::from(name.clone()));
        }
        Ok(response)
    }
}
