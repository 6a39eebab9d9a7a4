//! What can happen: the steps of a history, and how it ends.

use std::time::Duration;

use rusqlite::params;
use serde_json::json;
use waitbus::model::event::{Draft, ingest_method};
use waitbus::model::id::EventId;
use waitbus::model::limits::{HEARTBEAT, PRUNE_ROWS};
use waitbus::store::Appended;
use waitbus::store::prune::Keep;

use super::log::ModelRow;
use super::wanted::{REPOS, SOURCES, TYPES};
use super::world::{BEGINNING_MS, World};

impl World {
    pub fn step(&mut self) {
        let index = self.random.within(0..=self.clients.len() - 1);
        match self.random.within(0..=99) {
            0..=19 => self.publish(),
            20..=22 => self.insert_foreign(),
            23 | 98 if self.random.chance(60) => self.announce(),
            23 | 24 | 98 if self.random.chance(60) => self.end_source(),
            23 | 24 | 98 => self.say_health(),
            25..=29 => self.insert_unreadable(),
            30..=41 => self.join(index),
            42..=44 => self.disconnect(index),
            45..=69 => self.serve(),
            70..=84 => {
                self.read(index);
            }
            85..=89 => self.prune(),
            90..=94 => {
                let ms = self.random.pick(&[1, 1, 900, 20_000, 61_000]);
                self.pass_time(ms);
            }
            95..=96 => {
                let by_the_rules = self.random.chance(60);
                self.restart(by_the_rules);
            }
            97 => self.settle(),
            _ => self.ring(),
        }
    }

    /// Everything is rung for, read and written: then everybody has to have everything, and nobody anything to do.
    pub fn finish(&mut self) {
        for index in 0..self.clients.len() {
            if self.clients[index].connection.is_none() {
                self.connect(index, self.clients[index].cursor);
            }
        }
        self.ring();
        self.settle();
        for client in &mut self.clients {
            client.heartbeats = 0;
        }
        self.pass_time(u64::try_from(HEARTBEAT.as_millis()).unwrap());
        assert_eq!(self.hub.next_read(), None, "a heartbeat costs no read");
        self.settle();
        for client in &self.clients {
            assert_eq!(client.heartbeats, usize::from(client.heartbeat), "heartbeats after a quiet minute");
        }
        for index in 0..self.clients.len() {
            self.disconnect(index);
        }
        while self.hub.subscribers() > 0 {
            self.end_source();
        }
        self.settle();
        assert_eq!((self.hub.subscribers(), self.hub.deadline()), (0, None));
        assert_eq!((self.hub.next_read(), self.hub.next_write()), (None, None));
    }

    /// The service's turn: a page, and some writes.
    fn serve(&mut self) {
        self.page();
        for _ in 0..self.random.within(0..=3) {
            self.answer();
        }
        for _ in 0..self.random.within(0..=12) {
            self.write();
        }
    }

    /// A client that is not there comes back for what it has missed, or for the first time for anything.
    fn join(&mut self, index: usize) {
        if self.clients[index].connection.is_some() {
            return;
        }
        let since = match self.clients[index].cursor {
            Some(cursor) => Some(cursor),
            None => self.some_cursor(),
        };
        self.connect(index, since);
    }

    fn some_cursor(&mut self) -> Option<EventId> {
        let (known, pruned) = self.log.known();
        match self.random.within(0..=5) {
            0 | 1 => None,
            2 => Some(EventId::ZERO),
            3 if !known.is_empty() => Some(self.random.pick(&known)),
            4 if !pruned.is_empty() => Some(self.random.pick(&pruned)),
            _ => {
                let ms = (BEGINNING_MS + self.elapsed + 500).saturating_sub(self.random.pick(&[0, 400, 1_500, 30_000]));
                Some(self.foreign_id(ms))
            }
        }
    }

    /// An id of that time that no generator of ours has made.
    fn foreign_id(&mut self, ms: u64) -> EventId {
        let time = EventId::at(std::time::UNIX_EPOCH + Duration::from_millis(ms)).to_string();
        let digits: String = (0..16).map(|_| self.random.pick(&['3', '7', 'A', 'K', 'Z'])).collect();
        format!("{}{digits}", &time[..10]).parse().unwrap()
    }

    fn publish(&mut self) {
        let count =
            if self.random.chance(self.profile.bursts) { self.random.within(2..=self.profile.burst) } else { 1 };
        let drafts: Vec<_> = (0..count).map(|_| self.draft()).collect();
        let writer = self.random.within(0..=1);
        // Clocks of two processes do not agree, and one clock may step back.
        let late = if writer == 1 { 700 } else { self.random.pick(&[0, 0, 0, 5_000]) };
        let now = self.wall() - Duration::from_millis(late);
        let appended = if let [(draft, _)] = &*drafts {
            vec![self.shelf.writers[writer].append(draft, now).unwrap()]
        } else {
            let drafts: Vec<_> = drafts.iter().map(|(draft, _)| draft.clone()).collect();
            self.shelf.writers[writer].append_all(&drafts, now).unwrap()
        };
        self.note(format!("append {count}, now {}", self.log.end()));
        for ((draft, row), appended) in drafts.into_iter().zip(appended) {
            let holder = draft.delivery_id.as_ref().and_then(|key| self.log.holder(&draft.source, key));
            if let Some(holder) = holder {
                assert_eq!(Some(appended), holder.id.map(|id| Appended::Duplicate { id }), "a key that was there");
                continue;
            }
            let Appended::Stored { seq, id } = appended else { panic!("a key that was not there: {draft:?}") };
            let received_at = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
            let received_at = Some(i64::try_from(received_at).unwrap());
            self.stored(seq.0, ModelRow { id: Some(id), received_at, ..row });
        }
        self.perhaps_ring();
    }

    fn draft(&mut self) -> (Draft, ModelRow) {
        let random = &mut self.random;
        let (source, kind, repo) = (random.pick(&SOURCES), random.pick(&TYPES), random.pick(&REPOS));
        let number = i64::try_from(random.within(0..=3)).unwrap();
        let payload = random.chance(50).then(|| i64::try_from(random.within(0..=3)).unwrap());
        let size = random.pick(self.profile.sizes);
        let key = random.chance(5).then(|| format!("key {}", random.within(0..=3)));
        self.shelf.bytes += size;
        let draft = Draft {
            source: source.into(),
            event_type: kind.into(),
            owner: repo.0.into(),
            repo: repo.1.into(),
            delivery_id: key.clone(),
            is_certain: false,
            ingest_method: ingest_method::EMIT,
            summary: String::new(),
            fields: json!({"n": number, "text": "x".repeat(size)}).as_object().cloned().unwrap(),
            payload: payload.map(|number| json!({"deep": [number]}).to_string()),
        };
        let row = ModelRow {
            id: None,
            source: Some(source),
            kind: Some(kind),
            repo,
            number: Some(number),
            payload,
            received_at: None,
            key,
            readable: true,
            huge: size > 65_000,
        };
        (draft, row)
    }

    fn stored(&mut self, seq: i64, row: ModelRow) {
        self.log.push(row);
        assert_eq!(i64::try_from(self.log.end()), Ok(seq), "sequences have no holes");
    }

    fn perhaps_ring(&mut self) {
        if self.random.chance(70) {
            self.ring();
        }
    }

    /// A row of another program, with no more than it has to fill in.
    fn insert_foreign(&mut self) {
        let (source, kind) = (self.random.pick(&SOURCES), self.random.pick(&TYPES));
        self.insert(&format!("'{source}'"), &format!("'{kind}'"), &[], Some(source), Some(kind), true);
    }

    /// A row that cannot be decoded, for one reason or another.
    fn insert_unreadable(&mut self) {
        let (source, kind) = (self.random.pick(&SOURCES), self.random.pick(&TYPES));
        let (quoted_source, quoted_kind) = (format!("'{source}'"), format!("'{kind}'"));
        let next = self.log.end() + 1;
        let columns: &[(&str, String)] = match self.random.within(0..=5) {
            0 => &[("fields", "'[]'".into())],
            1 => &[("summary", "CAST(x'ff' AS TEXT)".into())],
            2 => &[("received_at", "'today'".into())],
            3 => &[("event_id", format!("'mine {next}'"))],
            4 => return self.insert("''", &quoted_kind, &[], None, Some(kind), false),
            _ if self.random.chance(50) => &[("event_id", format!("CAST(x'ff{next:06}' AS TEXT)"))],
            _ => return self.insert(&quoted_source, "x'00'", &[], Some(source), None, false),
        };
        self.insert(&quoted_source, &quoted_kind, columns, Some(source), Some(kind), false);
    }

    fn insert(
        &mut self,
        quoted_source: &str,
        quoted_kind: &str,
        columns: &[(&str, String)],
        source: Option<&'static str>,
        kind: Option<&'static str>,
        readable: bool,
    ) {
        let mut columns = columns.to_vec();
        if columns.is_empty() && self.random.chance(50) {
            let id = self.foreign_id(BEGINNING_MS + self.elapsed);
            if self.log.find(id).is_none() {
                columns.push(("event_id", format!("'{id}'")));
            }
        }
        let names =
            [&["source", "event_type"][..], &columns.iter().map(|(name, _)| *name).collect::<Vec<_>>()].concat();
        let values = columns.iter().map(|(_, value)| &**value).collect::<Vec<_>>();
        let values = [&[quoted_source, quoted_kind], &values[..]].concat();
        let sql = format!(
            "INSERT INTO events ({}) VALUES ({}) RETURNING seq, CAST(event_id AS BLOB), received_at",
            names.join(", "),
            values.join(", ")
        );
        let (seq, id, received_at) = self
            .shelf
            .foreign
            .query_row(&sql, params![], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2).ok())))
            .unwrap();
        self.note(format!("foreign row {seq}: {columns:?}"));
        let id = String::from_utf8(id).ok().and_then(|id| id.parse().ok());
        let repo = REPOS[0];
        let (number, payload, key, huge) = (None, None, None, false);
        self.stored(seq, ModelRow { id, source, kind, repo, number, payload, received_at, key, readable, huge });
        self.perhaps_ring();
    }

    fn prune(&mut self) {
        let rows = self.random.pick(&[0, 1, 3, 10, 100, 1_000]);
        let age = self.random.chance(40).then(|| Duration::from_millis(self.random.pick(&[1, 1_000, 30_000])));
        let keep = Keep { age, rows: Some(rows), bytes: None };
        let now = self.wall();
        let cutoff = age.map(|age| (now - age).duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos());
        let cutoff = cutoff.map(|nanoseconds| i64::try_from(nanoseconds).unwrap());
        let expected = self.log.prune(usize::try_from(rows).unwrap(), cutoff);
        // A step takes no more than it may, so whoever prunes goes on until nothing is left.
        let mut removed = 0;
        loop {
            let step = self.shelf.writers[0].prune_step(&keep, now).unwrap();
            assert!(step <= PRUNE_ROWS, "a step of {step} rows");
            removed += step;
            if step == 0 {
                break;
            }
        }
        assert_eq!(removed, expected, "rows that are pruned");
        self.note(format!("prune {removed}"));
    }
}
