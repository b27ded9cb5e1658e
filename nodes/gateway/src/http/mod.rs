//! HTTP: routes, and what every request goes through.
//!
//! ```text
//!  connection ──► layers::around (id, span, time, headers) ──► route ──► extract (caller, query, body) ──► handler
//!                                          ▲                                                │
//!                                          └──────────── Problem: RFC 9457 ◄────────────────┘
//! ```
mod admin;
mod automations;
mod cluster;
mod drill;
pub(crate) mod extract;
mod fitness;
mod health;
mod home;
mod layers;
mod login;
mod page;
pub(crate) mod problem;
mod runs;
mod sessions;
mod tether;
mod tokens;
mod users;
mod voters;
mod webhook;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};

use crate::shared::Shared;
use extract::Caller;
use problem::Problem;

/// The OpenAPI document, kept by hand; a test holds it against [`routes`].
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// One path with its methods and what serves it.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    /// For the test that holds the OpenAPI document against this table.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) methods: &'static [&'static str],
    serve: MethodRouter<Arc<Shared>>,
}

/// Everything under this gateway.
pub(crate) fn routes() -> Vec<Route> {
    let route = |path, methods, serve| Route { path, methods, serve };
    vec![
        route("/", &["get"], get(page::index)),
        route("/app.js", &["get"], get(page::script)),
        route("/automations.js", &["get"], get(page::automations)),
        route("/style.css", &["get"], get(page::style)),
        route("/favicon.svg", &["get"], get(page::icon)),
        route("/ws", &["get"], get(crate::ws::upgrade::upgrade)),
        route("/healthz", &["get"], get(health::alive)),
        route("/readyz", &["get"], get(health::ready)),
        route("/metrics", &["get"], get(health::metrics)),
        route("/api/v1/openapi.json", &["get"], get(openapi)),
        route(
            "/api/v1/cluster",
            &["get"],
            get(cluster::cluster).options(cluster::preflight),
        ),
        route("/api/v1/login", &["post"], post(login::login)),
        route("/api/v1/logout", &["post"], post(login::logout)),
        route("/api/v1/me", &["get"], get(login::me)),
        route(
            "/api/v1/sessions",
            &["get", "post"],
            get(sessions::list).post(sessions::create),
        ),
        route(
            "/api/v1/sessions/{id}/messages",
            &["get", "post"],
            get(sessions::messages).post(sessions::say),
        ),
        route(
            "/api/v1/users",
            &["get", "post"],
            get(users::list).post(users::create),
        ),
        route("/api/v1/users/{name}", &["delete"], delete(users::remove)),
        route(
            "/api/v1/users/{name}/password",
            &["put"],
            put(users::set_password),
        ),
        route(
            "/api/v1/tokens",
            &["get", "post"],
            get(tokens::list).post(tokens::create),
        ),
        route("/api/v1/tokens/{id}", &["delete"], delete(tokens::revoke)),
        route("/api/v1/invites", &["post"], post(admin::invite)),
        route("/api/v1/nodes/{name}", &["delete"], delete(admin::remove)),
        route("/api/v1/nodes/{name}/drain", &["post"], post(admin::drain)),
        route("/api/v1/nodes/{name}/undrain", &["post"], post(admin::undrain)),
        route("/api/v1/why/{kind}/{key}", &["get"], get(admin::why)),
        route(
            "/api/v1/drill/faults",
            &["get", "post", "delete"],
            get(drill::list).post(drill::set).delete(drill::clear),
        ),
        route("/api/v1/drill/beacon/{key}", &["post"], post(drill::beacon)),
        route("/api/v1/drills/ended", &["post"], post(home::drill_ended)),
        route(
            "/api/v1/automations",
            &["get", "post"],
            get(automations::list).merge(
                post(automations::load).layer(DefaultBodyLimit::max(automations::MAX_LOAD_BODY_BYTES)),
            ),
        ),
        route(
            "/api/v1/automations/{id}",
            &["get", "delete"],
            get(automations::show).delete(automations::remove),
        ),
        route(
            "/api/v1/automations/{id}/traces",
            &["get"],
            get(automations::traces),
        ),
        route(
            "/api/v1/automations/{id}/enable",
            &["post"],
            post(automations::enable),
        ),
        route(
            "/api/v1/automations/{id}/disable",
            &["post"],
            post(automations::disable),
        ),
        route(
            "/api/v1/automations/{id}/trigger",
            &["post"],
            post(automations::trigger),
        ),
        route("/api/v1/states", &["get"], get(home::states)),
        route("/api/v1/states/{entity_id}", &["get"], get(home::state)),
        route("/api/v1/services/{domain}/{service}", &["post"], post(home::call)),
        route("/api/v1/events/{event_type}", &["post"], post(home::event)),
        route("/api/v1/bridge", &["get"], get(home::bridge)),
        route("/api/v1/bridge/dead-letters", &["get"], get(home::letters)),
        route(
            "/api/v1/bridge/dead-letters/{id}",
            &["delete"],
            delete(home::forget),
        ),
        route(
            "/api/v1/bridge/dead-letters/{id}/replay",
            &["post"],
            post(home::replay),
        ),
        route("/api/v1/reminders", &["get"], get(home::reminders)),
        route(
            "/api/v1/reminders/{id}",
            &["delete"],
            delete(home::cancel_reminder),
        ),
        route(
            "/api/webhook/{id}",
            &["get", "head", "post", "put"],
            get(webhook::webhook)
                .post(webhook::webhook)
                .put(webhook::webhook)
                .layer(DefaultBodyLimit::max(webhook::MAX_WEBHOOK_BYTES)),
        ),
    ]
}

/// The whole of HTTP.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let router = routes().into_iter().fold(Router::new(), |router, route| {
        router.route(route.path, route.serve)
    });
    router
        // Between nodes only, so it is no part of the documented interface.
        .route("/tether", get(tether::take))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(extract::MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&shared),
            layers::around,
        ))
        .with_state(shared)
}

async fn openapi(_: Caller) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

async fn unknown(_: Caller) -> Problem {
    Problem::not_found("there is nothing at this path")
}

async fn wrong_method(_: Caller) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path has no such method",
    )
}
