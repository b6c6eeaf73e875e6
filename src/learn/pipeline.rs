//! The whole method on one set of images: stages in order, each resumable, each leaving its model in the run's folder.

mod inherit;

use super::augment::{Point, View};
use super::checkpoint::{Checkpoint, RunDir, StageLog, checkpoint_file};
use super::config::{Config, InitialLabels};
use super::dataset::Dataset;
use super::fuse::FuseTraining;
use super::joint::JointTraining;
use super::labels::{Positions, PseudoLabels, UpdateLog, learn_shape};
use super::matching::{MatchTraining, Matcher};
use super::propose::{Proposal, TemplateFeatures, pseudo_labels};
use super::rounds::{Part, Rounds};
use super::shape_model::ShapeModel;
use super::single::SingleTraining;
use super::trainer::Trainer;
use crate::data::gray::GrayImage;
use crate::device::Device;
use crate::model::{Header, Kind, Model, VERSION};
use crate::random::Stream;
use crate::tape::Region;
use crate::{Error, Result};
use std::ops::Range;
use std::time::{Duration, Instant};

/// What is to be learned: images, one of them annotated.
#[derive(Clone, Debug)]
pub struct Task {
    /// Landmark names.
    pub landmarks: Vec<String>,
    /// The images, the template among them.
    pub images: Vec<GrayImage>,
    /// Which of them is annotated.
    pub template: usize,
    /// The name of its file.
    pub template_name: String,
    /// Its landmarks, in its pixels.
    pub annotation: Vec<Point>,
    /// Millimetres a pixel, if known.
    pub spacing: Option<f64>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress<'a> {
    /// The stage.
    pub stage: &'a str,
    /// Steps done.
    pub done: usize,
    /// Steps of the stage.
    pub total: usize,
    /// Loss of the last step.
    pub loss: Option<f64>,
}

/// Who watches a run, and may stop it.
pub trait Observer {
    /// Called after every step.
    fn progress(&mut self, progress: Progress);

    /// Whether to stop at the next step, leaving a checkpoint.
    fn stopped(&self) -> bool;
}

/// Trains the stages that are asked for and not finished yet.
pub struct Pipeline<'a> {
    task: &'a Task,
    config: Config,
    device: &'a Device,
    run: &'a RunDir,
    observer: &'a mut dyn Observer,
    global: Dataset,
    local: Dataset,
}

/// A stage in training, as the driver sees it.
trait Stage {
    fn trainer(&mut self) -> &mut Trainer;
    /// One step and, where one is due, the update of the pseudo-labels after it.
    fn advance(&mut self, step: usize) -> Result<(Vec<f64>, Vec<UpdateLog>)>;
    fn labels(&mut self) -> Option<&mut Vec<PseudoLabels>> {
        None
    }
    /// Where the labels that it updates are, by landmark.
    fn positions(&self) -> Vec<Positions> {
        vec![]
    }
}

impl Stage for MatchTraining<'_> {
    fn trainer(&mut self) -> &mut Trainer {
        &mut self.trainer
    }
    fn advance(&mut self, step: usize) -> Result<(Vec<f64>, Vec<UpdateLog>)> {
        Ok((vec![self.step(step)?], vec![]))
    }
}

impl Stage for FuseTraining<'_> {
    fn trainer(&mut self) -> &mut Trainer {
        &mut self.trainer
    }
    fn advance(&mut self, step: usize) -> Result<(Vec<f64>, Vec<UpdateLog>)> {
        Ok((self.step(step)?.to_vec(), vec![]))
    }
}

impl Stage for SingleTraining<'_> {
    fn trainer(&mut self) -> &mut Trainer {
        &mut self.trainer
    }
    fn advance(&mut self, step: usize) -> Result<(Vec<f64>, Vec<UpdateLog>)> {
        let losses = self.step(step)?.to_vec();
        let updates = if self.updates_after(step) { self.update(step)? } else { vec![] };
        Ok((losses, updates))
    }
    fn labels(&mut self) -> Option<&mut Vec<PseudoLabels>> {
        Some(&mut self.labels)
    }
    fn positions(&self) -> Vec<Positions> {
        SingleTraining::positions(self)
    }
}

impl Stage for JointTraining<'_> {
    fn trainer(&mut self) -> &mut Trainer {
        &mut self.trainer
    }
    fn advance(&mut self, step: usize) -> Result<(Vec<f64>, Vec<UpdateLog>)> {
        let losses = self.step(step)?.to_vec();
        let updates = if self.updates_after(step) { self.update(step)? } else { vec![] };
        Ok((losses, updates))
    }
    fn labels(&mut self) -> Option<&mut Vec<PseudoLabels>> {
        Some(&mut self.labels)
    }
    fn positions(&self) -> Vec<Positions> {
        JointTraining::positions(self)
    }
}

/// Matches of every landmark in every image, in a run's folder: `[image][landmark]` of [`Proposal`].
pub const PROPOSALS: &str = "proposals.json";
/// The final pseudo-labels, in a run's folder: [`PseudoLabels`] by landmark.
pub const LABELS: &str = "labels.json";

/// The weights file of a method in a run's folder.
pub fn weights_file(kind: Kind) -> String {
    format!("{}.safetensors", kind.name())
}

/// The log of a stage in a run's folder.
pub fn log_file(kind: Kind) -> String {
    format!("{}.log.json", kind.name())
}

/// Parameters of a stage part of the way through, in a run's folder.
pub fn snapshot_file(kind: Kind, index: usize) -> String {
    format!("{}-{index:02}.safetensors", kind.name())
}

impl<'a> Pipeline<'a> {
    /// Scales the images; nothing is trained yet.
    pub fn new(
        task: &'a Task,
        config: Config,
        device: &'a Device,
        run: &'a RunDir,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let sizes: Vec<[usize; 2]> = task.images.iter().map(|image| [image.width, image.height]).collect();
        let config = config.fit_to(&sizes);
        let global = Dataset::new(&task.images, config.global_side, config.global_contrast);
        let local = Dataset::new(&task.images, config.local_side, 0.0);
        Self { task, config, device, run, observer, global, local }
    }

    /// Trains the stages in order, each unless its weights are there already. A stage needs those before it.
    ///
    /// # Errors
    /// [`Error::Input`] if weights in the folder are not those of this task and these settings.
    pub fn train(&mut self, stages: &[Kind]) -> Result<()> {
        self.check()?;
        for kind in Kind::ALL {
            if !stages.contains(&kind) || self.run.has(&weights_file(kind)) {
                continue;
            }
            let start = Instant::now();
            let trained = match kind {
                Kind::Match => self.train_match(),
                Kind::Joint => self.train_joint(),
                Kind::Single => self.train_single(),
                Kind::Fused => self.train_fused(),
            };
            self.run.add_time(kind.name(), start.elapsed().as_secs_f64(), &self.device.name())?;
            trained?;
            self.run.clear_checkpoint(kind.name())?;
        }
        Ok(())
    }

    /// Refuses a folder that hours of training would end in an error of, and clears away what finished stages need no more: a kill
    /// may have left it, or their weights are another run's.
    fn check(&self) -> Result<()> {
        self.run.times()?;
        for kind in Kind::ALL {
            let path = self.run.file(&weights_file(kind));
            if !path.is_file() {
                continue;
            }
            let (found, own) = (Model::read(&path)?.header, self.header(kind));
            if found != own {
                if (Header { onemark: own.onemark.clone(), ..found.clone() }) == own {
                    let cause = format!(
                        "is of onemark {}, this is {}: another version need not train on as that one did; go on with that one, \
                         or train into another --out",
                        found.onemark, own.onemark
                    );
                    return Err(Error::input(path, cause));
                }
                let cause = "is of another task or other settings than the run's; put the run's config.toml back as it was, or delete \
                             this to train its stage again";
                return Err(Error::input(path, cause));
            }
            self.run.clear_checkpoint(kind.name())?;
            if kind == Kind::Single {
                self.rounds().clear()?;
            }
        }
        Ok(())
    }

    fn header(&self, kind: Kind) -> Header {
        Header {
            version: VERSION,
            kind,
            landmarks: self.task.landmarks.clone(),
            config: self.config.clone(),
            spacing: self.task.spacing,
            template: self.task.template_name.clone(),
            images: self.task.images.len(),
            onemark: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// Writes a landmark model, beside the matcher's parameters and the template's features.
    fn write(&self, kind: Kind, shape: Option<ShapeModel>, net: Vec<f32>) -> Result<()> {
        let Model { matching, template, .. } = self.model(Kind::Match)?;
        Model { header: self.header(kind), matching, template, shape, net }.write(&self.run.file(&weights_file(kind)))
    }

    /// How the landmarks of labels in a data set's pixels vary together, unless the settings go without.
    fn shape_of(&self, labels: &[PseudoLabels], dataset: &Dataset) -> Option<ShapeModel> {
        learn_shape(labels, dataset, self.task.template, self.config.shape.noise)
    }

    /// An earlier stage's model.
    fn model(&self, kind: Kind) -> Result<Model> {
        let path = self.run.file(&weights_file(kind));
        if !path.is_file() {
            return Err(Error::input(&path, format!("is missing: train the stage `{}` first", kind.name())));
        }
        Model::read(&path)
    }

    fn train_match(&mut self) -> Result<()> {
        let mut stage = MatchTraining::new(self.device, &self.config.matching, &self.global, self.config.seed)?;
        let log = drive(
            self.run,
            self.observer,
            &self.config,
            Kind::Match,
            Turn::ONLY,
            self.config.matching.steps,
            &mut stage,
            |_, _| Ok(()),
        )?;
        let params = stage.trainer.executor.read(Region::Ema)?;
        drop(stage);
        self.propose(params, &log)
    }

    /// Finishes the stage with a trained matcher: the template's landmarks sought in every image.
    fn propose(&mut self, params: Vec<f32>, log: &StageLog) -> Result<()> {
        let k = self.task.landmarks.len();
        let mut matcher = Matcher::new(self.device, &self.config.matching, &params, &self.global, k)?;
        let (template, views) = (self.task.template, self.config.propose.views);
        let features = TemplateFeatures::new(&mut matcher, &self.global, template, &self.task.annotation, views)?;
        let mut sought = Vec::new();
        for image in 0..self.global.len() {
            sought.push(features.seek(&mut matcher, &self.global, image, &self.config.propose)?);
            let (done, total) = (image + 1, self.global.len());
            self.observer.progress(Progress { stage: "propose", done, total, loss: None });
            if self.observer.stopped() {
                return Err(Error::Interrupted);
            }
        }
        matcher.look(&self.global.plain(template, View::WHOLE).encode())?;
        let check = |sought| features.check(&mut matcher, &self.global, template, sought);
        let proposals = sought.iter().map(check).collect::<Result<Vec<_>>>()?;
        self.run.write_json(PROPOSALS, &proposals)?;
        self.run.write_json(&log_file(Kind::Match), log)?;
        let shape = self.shape_of(&self.proposed(&proposals), &self.local);
        let model =
            Model { header: self.header(Kind::Match), matching: params, template: features, shape, net: vec![] };
        model.write(&self.run.file(&weights_file(Kind::Match)))
    }

    fn proposed(&self, proposals: &[Vec<Proposal>]) -> Vec<PseudoLabels> {
        pseudo_labels(proposals, &self.local, self.task.template, &self.task.annotation, &self.config.propose)
    }

    /// The first pseudo-labels, in the local data set's pixels.
    fn first_labels(&self) -> Result<Vec<PseudoLabels>> {
        let (task, local) = (self.task, &self.local);
        match self.config.initial_labels {
            InitialLabels::Matched => {
                let proposals: Vec<Vec<Proposal>> = self.run.read_json(PROPOSALS)?;
                if proposals.len() != task.images.len() || proposals.iter().any(|p| p.len() != task.landmarks.len()) {
                    let cause = "was made for other images or landmarks; train into another folder";
                    return Err(Error::input(self.run.file(PROPOSALS), cause));
                }
                Ok(self.proposed(&proposals))
            }
            InitialLabels::Random => {
                let label = |landmark: usize| {
                    let point = |image: usize| {
                        let mut random = Stream::new(self.config.seed, &[8, landmark as u64, image as u64]);
                        local.sizes[image].map(|extent| random.range(0.0, extent as f64 - 1.0))
                    };
                    let mut points: Vec<Point> = (0..local.len()).map(point).collect();
                    points[task.template] = local.stored(task.template, task.annotation[landmark]);
                    let ones = vec![1.0; local.len()];
                    PseudoLabels { points, weights: ones.clone(), trust: ones, expected: vec![None; local.len()] }
                };
                Ok((0..task.landmarks.len()).map(label).collect())
            }
        }
    }

    fn train_joint(&mut self) -> Result<()> {
        let labels = self.first_labels()?;
        let labels = labels.iter().map(|l| l.to_dataset(&self.local, &self.global)).collect();
        let config = &self.config.joint;
        let mut stage =
            JointTraining::new(self.device, config, &self.global, self.task.template, labels, self.config.seed)?;
        let run = self.run;
        let keep = self.snapshots(Kind::Joint)?;
        let log = drive(run, self.observer, &self.config, Kind::Joint, Turn::ONLY, config.steps, &mut stage, keep)?;
        run.write_json(&log_file(Kind::Joint), &log)?;
        let net = stage.trainer.executor.read(Region::Ema)?;
        self.write(Kind::Joint, self.shape_of(&stage.labels, &self.global), net)
    }

    /// What keeps the parameters of a stage along the way, as its settings say. Snapshots tell of each landmark by itself: without a
    /// shape model, in which all have a say.
    fn snapshots(&self, kind: Kind) -> Result<impl FnMut(usize, &mut Trainer) -> Result<()> + use<'a>> {
        let Model { matching, template, .. } = self.model(Kind::Match)?;
        let mut header = self.header(kind);
        header.config.shape.noise = 0.0;
        let (run, snapshots) = (self.run, self.config.snapshots(kind));
        Ok(move |step: usize, trainer: &mut Trainer| match snapshots.after(step) {
            Some(index) => {
                let net = trainer.executor.read(Region::Ema)?;
                let (header, matching, template) = (header.clone(), matching.clone(), template.clone());
                Model { header, matching, template, shape: None, net }.write(&run.file(&snapshot_file(kind, index)))
            }
            None => Ok(()),
        })
    }

    fn train_single(&mut self) -> Result<()> {
        let everyone = 0..self.task.landmarks.len();
        for round in self.rounds().next()..self.config.single.rounds.len() {
            self.train_round(round, everyone.clone())?;
            self.rounds().finish(round)?;
            self.run.clear_checkpoint(Kind::Single.name())?;
        }
        Ok(())
    }

    /// Trains single models of some landmarks for the round that the run is in, and leaves them as a part of it.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are no such landmarks, [`Error::Input`] as of [`Pipeline::train`].
    pub fn train_part(&mut self, landmarks: Range<usize>) -> Result<()> {
        let k = self.task.landmarks.len();
        if landmarks.is_empty() || landmarks.end > k {
            let Range { start, end } = landmarks;
            return Err(Error::Usage(format!("there are no landmarks {start}..{end}: there are 0..{k}")));
        }
        self.check()?;
        let round = self.rounds().next();
        if round == self.config.single.rounds.len() {
            return Ok(());
        }
        let start = Instant::now();
        let trained = self.train_round(round, landmarks);
        self.run.add_time(Kind::Single.name(), start.elapsed().as_secs_f64(), &self.device.name())?;
        trained?;
        self.run.clear_checkpoint(Kind::Single.name())
    }

    fn rounds(&self) -> Rounds<'_> {
        Rounds::new(self.run, &self.config, &self.local, self.task.template, self.task.landmarks.len())
    }

    /// Trains what a round has not of some landmarks, in groups that fit the memory.
    fn train_round(&mut self, round: usize, landmarks: Range<usize>) -> Result<()> {
        let labels = self.rounds().labels(round, || self.first_labels())?;
        let size = self.group_size(labels.len())?;
        let (config, crop, template) = (&self.config.single, &self.config.crop, self.task.template);
        // Every round draws its own models and crops.
        let seed = self.config.seed.wrapping_add((round as u64) << 32);
        let gaps = self.rounds().missing(round, landmarks)?;
        let cut = |gap: Range<usize>| gap.clone().step_by(size).map(move |start| start..(start + size).min(gap.end));
        let groups: Vec<Range<usize>> = gaps.into_iter().flat_map(cut).collect();
        let (count, rounds) = (groups.len(), config.rounds.len());
        // Coarse crops are of smaller images, whose pixels are means of all that they cover.
        let side = (self.config.local_side as f64 / config.rounds[round]).round() as usize;
        let other = (side != self.config.local_side).then(|| Dataset::new(&self.task.images, side, 0.0));
        let dataset = other.as_ref().unwrap_or(&self.local);
        let moved = |labels: Vec<PseudoLabels>, from: &Dataset, to: &Dataset| match other {
            Some(_) => labels.iter().map(|labels| labels.to_dataset(from, to)).collect(),
            None => labels,
        };
        for (index, group) in groups.into_iter().enumerate() {
            let (members, labels) = (group.clone().collect(), labels[group.clone()].to_vec());
            let labels = moved(labels, &self.local, dataset);
            let mut stage = SingleTraining::new(self.device, config, crop, dataset, template, members, labels, seed)?;
            let at = [round, group.start, group.len()];
            let turn = Turn { at, index: round * count + index, count: rounds * count };
            let none = |_: usize, _: &mut Trainer| Ok(());
            let (run, steps) = (self.run, config.steps);
            let log = drive(run, self.observer, &self.config, Kind::Single, turn, steps, &mut stage, none)?;
            let labels = moved(stage.labels, dataset, &self.local);
            let part = Part { net: stage.trainer.executor.read(Region::Ema)?, labels, log };
            self.rounds().keep(round, &group, &part)?;
        }
        Ok(())
    }

    /// How many landmarks train at once within the memory that may be planned for. A CPU trains as many as its cache holds, or one
    /// after another: what one operation leaves is then at hand for the next.
    fn group_size(&self, k: usize) -> Result<usize> {
        let (arena, tensor) = self.device.memory_limits().unwrap_or((CACHE, u64::MAX));
        let budget = ((self.config.memory_mib as u64) << 20).min(arena);
        let bytes = |k: usize| SingleTraining::bytes(&self.config.single, &self.config.crop, &self.local, k);
        // Memory grows linearly with landmarks beyond what they share.
        let ((one, largest), (two, _)) = (bytes(1)?, bytes(2)?);
        let each = two.saturating_sub(one).max(1);
        Ok((budget.saturating_sub(one) / each + 1).min(tensor / largest).clamp(1, k as u64) as usize)
    }

    fn train_fused(&mut self) -> Result<()> {
        let Model { net: singles, shape, .. } = self.model(Kind::Single)?;
        let labels: Vec<PseudoLabels> = self.run.read_json(LABELS)?;
        if labels.len() != self.task.landmarks.len() || !labels.iter().all(|l| l.fits(self.local.len())) {
            let cause = "is of other images or landmarks; delete it and single.safetensors, and resume";
            return Err(Error::input(self.run.file(LABELS), cause));
        }
        let config = &self.config.fuse;
        let mut stage = FuseTraining::new(
            self.device,
            config,
            &self.config.crop,
            &self.local,
            self.task.template,
            &labels,
            &singles,
            self.config.seed,
        )?;
        let (run, keep) = (self.run, self.snapshots(Kind::Fused)?);
        let log = drive(run, self.observer, &self.config, Kind::Fused, Turn::ONLY, config.steps, &mut stage, keep)?;
        run.write_json(&log_file(Kind::Fused), &log)?;
        let net = stage.trainer.executor.read(Region::Ema)?;
        drop(stage);
        self.write(Kind::Fused, shape, net)
    }
}

/// What trains now, among what trains one after another in a stage.
#[derive(Clone, Copy)]
struct Turn {
    /// See [`Checkpoint::at`].
    at: [usize; 3],
    /// Its number.
    index: usize,
    /// How many there are.
    count: usize,
}

impl Turn {
    const ONLY: Self = Self { at: [0; 3], index: 0, count: 1 };
}

/// Bytes of a CPU's last cache, about.
const CACHE: u64 = 32 << 20;

/// Runs a stage from its checkpoint or its start to its end.
#[expect(clippy::too_many_arguments, reason = "the settings of one run, each of another kind")]
fn drive(
    run: &RunDir,
    observer: &mut dyn Observer,
    config: &Config,
    kind: Kind,
    turn: Turn,
    steps: usize,
    stage: &mut impl Stage,
    mut after: impl FnMut(usize, &mut Trainer) -> Result<()>,
) -> Result<StageLog> {
    let (mut first, mut log) = (0, StageLog { start: stage.positions(), ..StageLog::default() });
    if let Some(checkpoint) = run.checkpoint(kind.name())?.filter(|c| c.stage == kind.name() && c.at == turn.at) {
        checkpoint.fits(stage.trainer().layout.len(), stage.labels().map(|l| &**l), steps).map_err(|cause| {
            Error::input(
                run.file(&checkpoint_file(kind.name())),
                format!("{cause}; delete it to train the stage from its start"),
            )
        })?;
        stage.trainer().restore(&checkpoint.state)?;
        if let Some(labels) = stage.labels() {
            *labels = checkpoint.labels;
        }
        (first, log) = (checkpoint.step, checkpoint.log);
    }
    let mut saved = Instant::now();
    for step in first..steps {
        let (losses, updates) = stage.advance(step)?;
        let mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        if !mean.is_finite() {
            let cause =
                format!("the loss of stage `{}` is not finite at step {step}; lower its learning rate", kind.name());
            return Err(Error::Verification(cause));
        }
        log.losses.push(losses);
        log.updates.extend(updates);
        after(step, stage.trainer())?;
        let done = turn.index * steps + step + 1;
        observer.progress(Progress { stage: kind.name(), done, total: turn.count * steps, loss: Some(mean) });
        let stopped = observer.stopped();
        // The last step is saved too: what follows it, such as proposing labels, can be interrupted as well.
        if stopped || step + 1 == steps || saved.elapsed() >= Duration::from_secs(config.checkpoint_seconds) {
            let labels = stage.labels().cloned().unwrap_or_default();
            let state = stage.trainer().state()?;
            run.save(&Checkpoint {
                stage: kind.name().into(),
                at: turn.at,
                step: step + 1,
                labels,
                log: log.clone(),
                state,
            })?;
            saved = Instant::now();
        }
        if stopped {
            return Err(Error::Interrupted);
        }
    }
    Ok(log)
}
