//! What the template of Spin makes, with a path and a body.

use spin_sdk::{
    http::{IntoResponse, Request, Response, StatusCode},
    http_service,
};

#[http_service]
async fn handle(request: Request) -> anyhow::Result<impl IntoResponse> {
    let path = request.uri().path().to_owned();
    let response = Response::builder().status(StatusCode::OK);
    let response = response.header("content-type", "text/plain");
    Ok(response.body(format!("Hello from Spin at {path}"))?)
}
