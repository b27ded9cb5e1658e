//! Triggers of the clock and the sun.

use crate::load::data::entity_id;
use crate::load::limits;
use crate::load::reader::{Read, Reader, shorten};
use crate::model::{At, Pattern, SunEvent, TriggerKind, Weekdays};
use crate::yaml::Node;

impl Reader<'_> {
    pub(in crate::load) fn time(&mut self, node: &Node) -> Read<TriggerKind> {
        let fields = self.of(node, "a `time` trigger", &["at", "weekday"])?;
        let at = fields.must(self, "at", "\"07:30\"")?;
        let at = self.below("at", |reader| reader.each(at, limits::ITEMS, "times", Self::at))?;
        let weekdays = fields.read(self, "weekday", Self::weekdays)?;
        Ok(TriggerKind::Time {
            at,
            weekdays: weekdays.unwrap_or(Weekdays::ALL),
        })
    }

    pub(in crate::load) fn at(&mut self, node: &Node) -> Read<At> {
        if node.mapping().is_some() {
            let fields = self.fields(node, "a time with an offset", &["entity_id", "offset"])?;
            let entity = fields.must(self, "entity_id", "sensor.next_alarm")?;
            return Ok(At::Entity {
                entity: self.below("entity_id", |reader| reader.entity(entity))?,
                offset_ms: fields.read(self, "offset", Self::offset)?.unwrap_or(0),
            });
        }
        match node.scalar().and_then(|scalar| entity_id(&scalar.text)) {
            Some(entity) => Ok(At::Entity { entity, offset_ms: 0 }),
            None => self.time_of_day(node).map(At::TimeOfDay),
        }
    }

    pub(in crate::load) fn time_pattern(&mut self, node: &Node) -> Read<TriggerKind> {
        let own = ["hours", "minutes", "seconds"];
        let fields = self.of(node, "a `time_pattern` trigger", &own)?;
        let mut field = |key: &str, most: u8| {
            let read = fields.read(self, key, |reader, node| reader.pattern(node, most))?;
            Ok(read.unwrap_or(Pattern::Unset))
        };
        let (hours, minutes, seconds) = (field("hours", 23)?, field("minutes", 59)?, field("seconds", 59)?);
        if [hours, minutes, seconds] == [Pattern::Unset; 3] {
            let instead = "write `hours`, `minutes` or `seconds`: `minutes: \"/5\"`";
            return Err(self.wrong(node.position, "nothing says when", instead));
        }
        Ok(TriggerKind::TimePattern {
            hours,
            minutes,
            seconds,
        })
    }

    pub(in crate::load) fn pattern(&mut self, node: &Node, most: u8) -> Read<Pattern> {
        let text = self.plain(node, "a number, `\"/5\"` or `\"*\"`")?;
        let number = |text: &str| text.parse::<u8>().ok().filter(|number| *number <= most);
        let pattern = match text.trim() {
            "*" => Some(Pattern::Any),
            text => match text.strip_prefix('/') {
                Some(every) => number(every).filter(|every| *every > 0).map(Pattern::Every),
                None => number(text).map(Pattern::Exactly),
            },
        };
        match pattern {
            Some(pattern) => Ok(pattern),
            None => {
                let what = format!("`{}` is no pattern", shorten(&text));
                let instead =
                    format!("write a number from 0 to {most}, `\"/5\"` for every fifth, or `\"*\"`");
                Err(self.wrong(node.position, what, instead))
            }
        }
    }

    pub(in crate::load) fn sun(&mut self, node: &Node) -> Read<TriggerKind> {
        let fields = self.of(node, "a `sun` trigger", &["event", "offset"])?;
        let event = fields.must(self, "event", "sunset")?;
        Ok(TriggerKind::Sun {
            event: self.below("event", |reader| reader.sun_event(event))?,
            offset_ms: fields.read(self, "offset", Self::offset)?.unwrap_or(0),
        })
    }

    /// `sunrise` or `sunset`.
    pub(in crate::load) fn sun_event(&mut self, node: &Node) -> Read<SunEvent> {
        self.word(
            node,
            &[("sunrise", SunEvent::Sunrise), ("sunset", SunEvent::Sunset)],
        )
    }
}
