//! The websocket `/crown`: one mission brief, one answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::{IntoResponse, Response};
use futures_util::SinkExt;
use http::HeaderMap;

use super::Shared;
use super::place::Place;
use super::reply::error;
use crate::protocol::{MAX_FRAME, SUBPROTOCOL, answer};
use crate::trace::Trace;

/// How long a client may take to send its brief, and to close.
const RECEIVE: Duration = Duration::from_secs(10);
const CLOSE: Duration = Duration::from_millis(500);
/// How long a brief may take to come once the gateway is told to stop; it may be on its way.
const LAST: Duration = Duration::from_secs(2);

pub async fn crown(
    State(shared): State<Arc<Shared>>,
    Extension(place): Extension<Arc<Place>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return error(426, "no_websocket", "a websocket is spoken here");
    };
    let trace = shared.trace("crown.handshake", &headers);
    let upgrade = upgrade.max_message_size(MAX_FRAME).max_frame_size(MAX_FRAME).protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return error(400, "subprotocol", &format!("the subprotocol {SUBPROTOCOL} is spoken here"))
            .into_response();
    }
    upgrade.on_upgrade(move |socket| async move {
        converse(shared, socket, trace).await;
        drop(place);
    })
}

async fn converse(shared: Arc<Shared>, mut socket: WebSocket, trace: Trace) {
    let received = tokio::select! {
        received = receive(&mut socket) => received,
        () = tokio::time::sleep(RECEIVE) => Err((close_code::POLICY, "no mission brief came in time")),
        () = stopped(&shared) => Err((close_code::AWAY, "this Crown is stopping")),
    };
    let (code, reason) = match received {
        Ok(Some(Message::Text(frame))) => {
            let answer = answer(&frame, &shared.router.config().crown, &shared.capabilities);
            let agreed = answer["status"] == "ack";
            let status = if agreed { "ack" } else { "refused" };
            shared.metrics.handshake(status);
            trace.set("crown.status", status);
            if socket.send(Message::text(answer.to_string())).await.is_err() {
                return;
            }
            (close_code::NORMAL, "")
        }
        Ok(Some(_)) => (close_code::UNSUPPORTED, "a text frame was expected"),
        Ok(None) => return,
        Err(why) => why,
    };
    let frame = CloseFrame { code, reason: reason.into() };
    let closing = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
        let _ = SinkExt::close(&mut socket).await;
    };
    // Whoever does not close in time is cut off.
    let _ = tokio::time::timeout(CLOSE, closing).await;
}

/// Once the gateway has been told to stop, and there was time for a brief that was on its way.
async fn stopped(shared: &Shared) {
    let _ = shared.stop.clone().wait_for(|asked| *asked > 0).await;
    tokio::time::sleep(LAST.min(shared.settings.grace / 2)).await;
}

/// The first frame that says something; pings are answered below.
async fn receive(socket: &mut WebSocket) -> Result<Option<Message>, (u16, &'static str)> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_))) | None => return Ok(None),
            Some(Ok(message)) => return Ok(Some(message)),
            Some(Err(_)) => return Err((close_code::SIZE, "the frame is broken or larger than 1 MiB")),
        }
    }
}
