//! Parses the scores of MISP's decaying models for an attribute (`decay_score`). MISP sends them only if the
//! request asks for them with `includeDecayScore`.

use serde::Deserialize;

use super::lenient::Flag;

/// The verdict of all enabled models that apply to the attribute's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decay {
    /// All of them say so, as with MISP's `excludeDecayed`.
    pub decayed: bool,
    /// The highest of their scores, 0 to 100 in tens: it sinks by the hour, and what changes is sent
    /// anew.
    pub score: u8,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DecayFields {
    score: serde_json::Value,
    decayed: Flag,
}

/// `None`: no model applies, or what stands there cannot be read.
pub(super) fn of_attribute(list: &str) -> Option<Decay> {
    let models: Vec<DecayFields> = serde_json::from_str(list).ok()?;
    let scores = models.iter().filter_map(|model| score(&model.score));
    let score = scores.max()?;
    Some(Decay { decayed: models.iter().all(|model| model.decayed.0), score })
}

fn score(score: &serde_json::Value) -> Option<u8> {
    let number = score.as_f64().or_else(|| score.as_str()?.parse().ok())?;
    // Between 0 and 100 after this.
    let tens = (number.clamp(0.0, 100.0) / 10.0).round();
    (0..=10_u8).find(|ten| f64::from(*ten) >= tens).map(|ten| ten * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_models_must_say_decayed_and_the_highest_score_counts() {
        let of = of_attribute;
        let decay = |decayed, score| Some(Decay { decayed, score });
        // The fields of `DecayingModel::attachScoresToAttribute`.
        let model = r#"{"score":43.2,"base_score":80,"decayed":false,"DecayingModel":{"id":"1","name":"NIDS"}}"#;
        assert_eq!(of(&format!("[{model}]")), decay(false, 40));
        assert_eq!(
            of(r#"[{"score":12,"decayed":true},{"score":"45","decayed":false}]"#),
            decay(false, 50)
        );
        assert_eq!(
            of(r#"[{"score":0,"decayed":true},{"score":4.9,"decayed":"1"}]"#),
            decay(true, 0)
        );
        assert_eq!(
            of(r#"[{"score":1e9,"decayed":0},{"score":-3,"decayed":1}]"#),
            decay(false, 100)
        );
        for none in ["[]", "{}", "null", "[1]", r#"[{"decayed":true}]"#, ""] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
