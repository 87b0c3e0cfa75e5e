//! Files and batches, kept in memory, the oldest dropped first.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    super::future::{Answer, Exchange},
    Outcome,
    error::{self, Error},
    multipart, whole,
    write::{self, CREATED},
};

/// At most this many files, and as many batches, are kept ...
const MOST: usize = 100;
/// ... and this many bytes of files.
const MOST_BYTES: usize = 64 << 20;

#[derive(Debug, Default)]
pub(super) struct Files(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    files: VecDeque<(Value, Bytes)>,
    batches: VecDeque<Value>,
}

impl Files {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `/files`, `/files/{id}` and `/files/{id}/content`
    pub(super) fn files(&self, x: &Exchange, id: Option<&str>, rest: Option<&str>) -> Outcome {
        let mut kept = self.lock();
        let at = id.and_then(|id| kept.files.iter().position(|(file, _)| file["id"] == id));
        match (&x.parts.method, id, rest) {
            (&Method::POST, None, None) => kept.upload(x),
            (&Method::GET, None, None) => Ok(list(x, kept.files.iter().map(|(file, _)| file))),
            (&Method::GET, Some(id), rest) => match (at.and_then(|at| kept.files.get(at)), rest) {
                (Some((file, _)), None) => Ok(object(x, file)),
                (Some((_, content)), Some("content")) => {
                    Ok(whole(x, "application/octet-stream", content.clone(), 0, 0))
                }
                (Some(_), Some(_)) => Err(error::no_such_path(x)),
                (None, _) => Err(missing("File", id)),
            },
            (&Method::DELETE, Some(id), None) => {
                let gone =
                    at.and_then(|at| kept.files.remove(at)).ok_or_else(|| missing("File", id))?;
                Ok(object(x, &json!({"id": gone.0["id"], "object": "file", "deleted": true})))
            }
            _ => Err(error::wrong_method(x)),
        }
    }

    /// `/batches`, `/batches/{id}` and `/batches/{id}/cancel`; a batch is never worked on.
    pub(super) fn batches(&self, x: &Exchange, id: Option<&str>, rest: Option<&str>) -> Outcome {
        let mut kept = self.lock();
        let found = id.and_then(|id| kept.batches.iter_mut().find(|batch| batch["id"] == id));
        match (&x.parts.method, id, rest) {
            (&Method::POST, None, None) => {
                let batch = new_batch(x)?;
                let answer = object(x, &batch);
                kept.batches.push_back(batch);
                if kept.batches.len() > MOST {
                    kept.batches.pop_front();
                }
                Ok(answer)
            }
            (&Method::GET, None, None) => Ok(list(x, kept.batches.iter())),
            (&Method::GET, Some(id), None) => {
                found.map(|batch| object(x, batch)).ok_or_else(|| missing("Batch", id))
            }
            (&Method::POST, Some(id), Some("cancel")) => {
                let batch = found.ok_or_else(|| missing("Batch", id))?;
                batch["status"] = json!("cancelled");
                Ok(object(x, batch))
            }
            _ => Err(error::wrong_method(x)),
        }
    }
}

impl Kept {
    fn upload(&mut self, x: &Exchange) -> Outcome {
        let form = multipart::parts(&x.parts.headers, &x.body).unwrap_or_default();
        let Some(file) = form.iter().find(|part| part.file.is_some()) else {
            return Err(Box::new(
                Error::invalid("Missing required parameter: 'file'.").param("file"),
            ));
        };
        let purpose = form.iter().find(|part| part.name == "purpose");
        let Some(purpose) = purpose.and_then(|part| std::str::from_utf8(part.content).ok()) else {
            return Err(Box::new(
                Error::invalid("Missing required parameter: 'purpose'.").param("purpose"),
            ));
        };
        let record = json!({
            "id": x.id("file-"),
            "object": "file",
            "bytes": file.content.len(),
            "created_at": CREATED,
            "expires_at": null,
            "filename": file.file,
            "purpose": purpose,
            "status": "processed",
            "status_details": null,
        });
        let answer = object(x, &record);
        self.files.push_back((record, x.body.slice_ref(file.content)));
        let held = |kept: &Self| kept.files.iter().map(|(_, content)| content.len()).sum::<usize>();
        while self.files.len() > MOST || (self.files.len() > 1 && held(self) > MOST_BYTES) {
            self.files.pop_front();
        }
        Ok(answer)
    }
}

fn new_batch(x: &Exchange) -> Result<Value, Box<Error>> {
    let ask: Value = serde_json::from_slice(&x.body)
        .map_err(|error| Box::new(Error::invalid(format!("Invalid request body: {error}."))))?;
    for name in ["input_file_id", "endpoint", "completion_window"] {
        if !ask[name].is_string() {
            let text = format!("Missing required parameter: '{name}'.");
            return Err(Box::new(Error::invalid(text).param(name)));
        }
    }
    Ok(json!({
        "id": x.id("batch_"),
        "object": "batch",
        "endpoint": ask["endpoint"],
        "errors": null,
        "input_file_id": ask["input_file_id"],
        "completion_window": ask["completion_window"],
        "status": "validating",
        "output_file_id": null,
        "error_file_id": null,
        "created_at": CREATED,
        "request_counts": {"total": 0, "completed": 0, "failed": 0},
        "metadata": ask["metadata"],
    }))
}

fn list<'a>(x: &Exchange, all: impl Iterator<Item = &'a Value>) -> Answer {
    let data: Vec<&Value> = all.collect();
    let ends = [data.first(), data.last()].map(|end| end.map(|object| &object["id"]));
    let body = json!({
        "object": "list", "data": data, "first_id": ends[0], "last_id": ends[1], "has_more": false,
    });
    object(x, &body)
}

fn object(x: &Exchange, value: &Value) -> Answer {
    whole(x, "application/json", write::json(value), 0, 0)
}

fn missing(what: &str, id: &str) -> Box<Error> {
    let mut error = Error::invalid(format!("No such {what} object: {id}")).param("id");
    error.status = StatusCode::NOT_FOUND;
    Box::new(error)
}
