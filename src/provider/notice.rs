//! What of a row surprises on the bill, as sentences for whoever mounts. Knows no volume.

use crate::provider::Provider;

impl Provider {
    /// Charges for what is not there any more, each a sentence.
    pub fn cost_notices(&self) -> Vec<String> {
        let Some(costs) = &self.costs else { return Vec::new() };
        let title = &self.title;
        let minimum = format!(
            "{title} charges {} days for every object, also for one that is deleted sooner",
            costs.minimum_days
        );
        let kept = format!(
            "{title} keeps deleted objects for {} days and charges for them, unless the bucket's \
             soft delete is switched off",
            costs.soft_delete_days
        );
        let hidden = format!(
            "{title} hides deleted objects and charges for them, unless the bucket's lifecycle \
             keeps only the last version"
        );
        [
            (costs.minimum_days > 0, minimum),
            (costs.soft_delete_days > 0, kept),
            (costs.hides_deleted, hidden),
        ]
        .into_iter()
        .filter_map(|(applies, sentence)| applies.then_some(sentence))
        .collect()
    }
}
