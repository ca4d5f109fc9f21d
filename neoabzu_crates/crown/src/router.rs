//! Decides who answers: validation, memory, rules, health. Asks nobody itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use neoabzu_core::Value as Cel;
use neoabzu_kimicho::{Client, Error};
use serde_json::Value;

use crate::choose::{Candidate, Random, pick};
use crate::config::Config;
use crate::fault::Fault;
use crate::health::Health;
use crate::request::Request;
use crate::rules::{Choice, Rule, chosen, holds};
use crate::trace::Role;
use crate::variables::{Reads, Subject, Variables};

/// What a memory offers the router.
pub trait Recall: Send + Sync + std::fmt::Debug {
    /// Recalls what has to do with `text`: `{"hits": […], "failed_layers": {…}, "elapsed": seconds}`.
    /// Takes no longer than `deadline` and fails by naming the layers that did.
    fn recall(&self, text: &str, limit: usize, deadline: Duration) -> Value;
}

/// Who may be asked, and why.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The servants of the rule's choice.
    pub first: Vec<usize>,
    /// Those that are asked if they fail.
    pub others: Vec<usize>,
    /// Whether Kimi K2 may be asked last.
    pub kimicho: bool,
    pub reason: String,
    /// The rule that chose.
    pub rule: Option<String>,
    /// Rules that could not be evaluated, and why.
    pub errors: Vec<String>,
    pub recalled: Option<Value>,
    /// What the rules took.
    pub rules_time: Duration,
}

/// The servants with their health, and the rules. Threads share it.
#[derive(Debug)]
pub struct Router {
    config: Arc<Config>,
    health: Vec<Health>,
    clients: Vec<Client>,
    kimicho: Option<Client>,
    recall: Option<Arc<dyn Recall>>,
    random: Random,
    policies_read: Reads,
    rules_read: Reads,
}

impl Router {
    /// # Errors
    /// Those of [`Client::new`], and what it says of the environment holds here.
    pub fn new(config: Config, recall: Option<Arc<dyn Recall>>) -> Result<Router, Error> {
        let clients = config.servants.iter().map(|servant| Client::new(servant.settings()));
        let clients = clients.collect::<Result<Vec<_>, _>>()?;
        let kimicho = config.kimicho.clone().map(Client::new).transpose()?;
        let health = config.servants.iter().map(|_| Health::default()).collect();
        let policies_read = Reads::of(config.policies.iter().map(|policy| &policy.when), &config.servants);
        let rules_read = Reads::of(config.rules.iter().flat_map(Rule::programs), &config.servants);
        Ok(Router {
            config: Arc::new(config),
            health,
            clients,
            kimicho,
            recall,
            random: Random::default(),
            policies_read,
            rules_read,
        })
    }

    /// The same router without connections and without what it knew of its servants, for a process that was forked;
    /// see [`Client::anew`].
    #[must_use]
    pub fn anew(&self) -> Router {
        Router {
            config: self.config.clone(),
            health: self.config.servants.iter().map(|_| Health::default()).collect(),
            clients: self.clients.iter().map(Client::anew).collect(),
            kimicho: self.kimicho.as_ref().map(Client::anew),
            recall: self.recall.clone(),
            random: Random::default(),
            policies_read: self.policies_read.clone(),
            rules_read: self.rules_read.clone(),
        }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn health(&self, servant: usize) -> &Health {
        &self.health[servant]
    }

    /// The blocking client of a servant.
    pub fn client(&self, servant: usize) -> &Client {
        &self.clients[servant]
    }

    pub fn kimicho(&self) -> Option<&Client> {
        self.kimicho.as_ref()
    }

    pub fn recalls(&self) -> bool {
        self.recall.is_some()
    }

    /// Whether a decision is likely to be made at once, so that an event loop need not fear it.
    pub(crate) fn is_brief(&self, request: &Request) -> bool {
        let whole = Subject { text: &request.whole, size: request.whole.len(), context: &request.context };
        let last = Subject { text: &request.text, ..whole };
        self.recall.is_none()
            && self.policies_read.is_brief(&whole, self.config.policies.iter().map(|policy| &policy.when))
            && self.rules_read.is_brief(&last, self.config.rules.iter().flat_map(Rule::programs))
    }

    /// Decides who may answer a request.
    ///
    /// # Errors
    /// [`Fault::Refused`] by a policy, [`Fault::Invalid`] for a model nobody has.
    pub fn decide(&self, request: &Request) -> Result<Decision, Fault> {
        let servants = || self.seen_by_rules();
        let whole = Subject { text: &request.whole, size: request.whole.len(), context: &request.context };
        if !self.config.policies.is_empty() {
            self.refuse(&self.policies_read.bind(whole, servants))?;
        }
        let recalled = self.recall.as_ref().map(|memory| {
            let _trace = request.trace.child("crown.memory", Role::Internal);
            memory.recall(&request.text, self.config.recall.limit, self.config.recall.deadline)
        });
        let began = Instant::now();
        let mut decision = if self.config.rules.is_empty() {
            self.everybody("no rules are configured")
        } else {
            let subject = Subject { text: &request.text, ..whole };
            self.by_rule(&self.rules_read.bind(subject, servants))?
        };
        if let Some(model) = &request.model {
            self.pin(&mut decision, model)?;
        }
        decision.rules_time = began.elapsed();
        decision.recalled = recalled;
        Ok(decision)
    }

    fn refuse(&self, variables: &Variables<'_>) -> Result<(), Fault> {
        for policy in &self.config.policies {
            let message = match holds(&policy.when, variables) {
                Ok(false) => continue,
                Ok(true) => format!("refused by {}: {}", policy.name, policy.reason),
                // In doubt it is refused: a policy that cannot be evaluated protects nothing.
                Err(fault) => format!("refused: {} cannot be evaluated: {fault}", policy.name),
            };
            return Err(Fault::Refused { status: 403, code: "policy".to_owned(), message });
        }
        Ok(())
    }

    fn everybody(&self, reason: &str) -> Decision {
        Decision {
            first: (0..self.config.servants.len()).collect(),
            others: Vec::new(),
            kimicho: self.kimicho.is_some(),
            reason: reason.to_owned(),
            rule: None,
            errors: Vec::new(),
            recalled: None,
            rules_time: Duration::ZERO,
        }
    }

    fn by_rule(&self, variables: &Variables<'_>) -> Result<Decision, Fault> {
        let mut errors = Vec::new();
        for rule in &self.config.rules {
            let outcome = match rule.when.as_ref().map_or(Ok(true), |when| holds(when, variables)) {
                Ok(false) => continue,
                Ok(true) => self.chosen_by(rule, variables),
                Err(fault) => Err(fault),
            };
            match outcome {
                Ok(first) if !first.is_empty() => return Ok(self.ruled(rule, first, errors)),
                Ok(_) if rule.only => return Err(unanswerable(rule, "it chooses no servant")),
                Err(fault) if rule.only => return Err(unanswerable(rule, &fault)),
                Ok(_) => errors.push(format!("{}: it chooses no servant", rule.name)),
                Err(fault) => errors.push(format!("{}: {fault}", rule.name)),
            }
        }
        Ok(Decision { errors, ..self.everybody("no rule applies") })
    }

    fn ruled(&self, rule: &Rule, first: Vec<usize>, errors: Vec<String>) -> Decision {
        let all = 0..self.config.servants.len();
        let others =
            if rule.only { Vec::new() } else { all.filter(|index| !first.contains(index)).collect() };
        Decision {
            others,
            first,
            kimicho: self.kimicho.is_some() && !rule.only,
            rule: Some(rule.name.clone()),
            errors,
            ..self.everybody(&format!("{} applies", rule.name))
        }
    }

    fn chosen_by(&self, rule: &Rule, variables: &Variables<'_>) -> Result<Vec<usize>, String> {
        let servants = self.config.servants.iter().enumerate();
        let names = match &rule.choice {
            Choice::Capability(wanted) => {
                let able = servants.filter(|(_, servant)| servant.capabilities.contains(wanted));
                return Ok(able.map(|(index, _)| index).collect());
            }
            Choice::Names(names) => names.clone(),
            Choice::Expression(program) => chosen(program, variables)?,
        };
        Ok(servants.filter(|(_, servant)| names.contains(&servant.name)).map(|(index, _)| index).collect())
    }

    /// Narrows a decision to the servant or model that was asked for.
    fn pin(&self, decision: &mut Decision, model: &str) -> Result<(), Fault> {
        let means = |index: &usize| {
            let servant = &self.config.servants[*index];
            servant.name == model || servant.model == model
        };
        let all: Vec<usize> = (0..self.config.servants.len()).filter(means).collect();
        let kimicho = model == "kimicho" && self.kimicho.is_some();
        if all.is_empty() && !kimicho {
            let message = format!(
                "there is no model {:?}; GET /v1/models lists them",
                neoabzu_kimicho::clean(model, 100, &[])
            );
            return Err(Fault::Invalid { status: 404, code: "model_not_found", message });
        }
        let permitted =
            decision.first.iter().chain(&decision.others).copied().filter(|index| all.contains(index));
        let first: Vec<usize> = permitted.collect();
        if first.is_empty() && !(kimicho && decision.kimicho) {
            let rule = decision.rule.as_deref().unwrap_or("a rule");
            let message = format!("{rule} does not let this request go to that model");
            return Err(Fault::Refused { status: 403, code: "rule".to_owned(), message });
        }
        decision.first = first;
        decision.others = Vec::new();
        decision.kimicho = kimicho;
        decision.reason = "the model was asked for".to_owned();
        Ok(())
    }

    fn seen_by_rules(&self) -> Vec<Cel<'_>> {
        let entry = |(index, health): (usize, &Health)| {
            let servant = &self.config.servants[index];
            let capabilities: Vec<&str> = servant.capabilities.iter().map(String::as_str).collect();
            Cel::from([
                ("name", Cel::from(servant.name.as_str())),
                ("model", Cel::from(servant.model.as_str())),
                ("capabilities", Cel::from(capabilities)),
                ("weight", Cel::from(servant.weight)),
                ("healthy", Cel::from(health.healthy())),
                ("under_way", Cel::from(i64::from(health.under_way()))),
                ("latency", health.latency().map_or(Cel::Null, Cel::from)),
            ])
        };
        self.health.iter().enumerate().map(entry).collect()
    }

    /// Picks a usable servant of a set.
    pub(crate) fn pick(&self, set: &[usize], now: Instant) -> Option<usize> {
        let usable = set.iter().filter(|index| self.health[**index].usable(now));
        let candidates: Vec<Candidate> = usable
            .map(|&index| Candidate {
                index,
                weight: self.config.servants[index].weight,
                under_way: self.health[index].under_way(),
                latency: self.health[index].latency(),
            })
            .collect();
        pick(&candidates, &self.random)
    }
}

fn unanswerable(rule: &Rule, fault: &str) -> Fault {
    let message = format!("refused: {} lets nobody else answer, and {fault}", rule.name);
    Fault::Refused { status: 403, code: "rule".to_owned(), message }
}
