//! Parses a condition. Each loop consumes at least one character of a bounded text; the only nesting is `any` with its
//! terms.

use super::pattern::Pattern;
use super::{Condition, ConditionError, Function, Operator, PathStep, Right, Subject, Term};

/// The longest condition.
const MAX_CHARS: usize = 500;
/// The longest path into a body.
const MAX_STEPS: usize = 32;
/// The most alternatives of an `any`.
const MAX_TERMS: usize = 50;

const SUBJECTS: &str = "[STATUS], [BODY], [HEADER].name, [RESPONSE_TIME], [CERTIFICATE_EXPIRATION], [CONNECTED], [IP], \
                        [DNS_RCODE] or [ANSWER]";

/// Reads one condition.
pub(super) fn condition(text: &str) -> Result<Condition, ConditionError> {
    let mut reader = Reader { text, at: 0 };
    if text.chars().nth(MAX_CHARS).is_some() {
        return Err(reader.error(&format!("is longer than {MAX_CHARS} characters")));
    }
    reader.skip_spaces();
    let function = reader.function();
    let subject = reader.subject()?;
    if function != Function::None {
        reader.skip_spaces();
        reader.expect(")")?;
    }
    if function != Function::None && !matches!(subject, Subject::Body(_) | Subject::Header(_) | Subject::Answer) {
        return Err(reader.error("len and has are for [BODY], [HEADER].name and [ANSWER]"));
    }
    reader.skip_spaces();
    let operator = reader.operator()?;
    reader.skip_spaces();
    let right = reader.right(function, &subject, operator)?;
    reader.skip_spaces();
    if !reader.rest().is_empty() {
        return Err(reader.error("expected nothing more"));
    }
    Ok(Condition { text: text.trim().to_owned(), function, subject, operator, right })
}

/// The position in the text.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, problem: &str) -> ConditionError {
        let position = self.text.get(..self.at).unwrap_or(self.text).chars().count() + 1;
        let condition = super::first_chars(self.text, 100).to_owned();
        ConditionError { condition, position, problem: problem.to_owned() }
    }

    fn skip_spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    fn expect(&mut self, token: &str) -> Result<(), ConditionError> {
        if self.eat(token) { Ok(()) } else { Err(self.error(&format!("expected {token:?}"))) }
    }

    /// The longest prefix of such characters.
    fn take_while(&mut self, of_sort: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !of_sort(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn function(&mut self) -> Function {
        let function = if self.eat("len(") {
            Function::Len
        } else if self.eat("has(") {
            Function::Has
        } else {
            Function::None
        };
        self.skip_spaces();
        function
    }

    fn subject(&mut self) -> Result<Subject, ConditionError> {
        let begin = self.at;
        if !self.eat("[") {
            return Err(self.error(&format!("expected {SUBJECTS}")));
        }
        let name = self.take_while(|c| c.is_ascii_uppercase() || c == '_');
        self.expect("]")?;
        Ok(match name {
            "STATUS" => Subject::Status,
            "BODY" => Subject::Body(self.path()?),
            "HEADER" => Subject::Header(self.header()?),
            "RESPONSE_TIME" => Subject::ResponseTime,
            "CERTIFICATE_EXPIRATION" => Subject::CertificateExpiration,
            "CONNECTED" => Subject::Connected,
            "IP" => Subject::Ip,
            "DNS_RCODE" => Subject::DnsCode,
            "ANSWER" => Subject::Answer,
            _ => {
                self.at = begin;
                return Err(self.error(&format!("expected {SUBJECTS}")));
            }
        })
    }

    fn header(&mut self) -> Result<String, ConditionError> {
        self.expect(".")?;
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || "-_!#$%&'*+.^`|~".contains(c));
        if name.is_empty() {
            return Err(self.error("expected the name of a header"));
        }
        Ok(name.to_ascii_lowercase())
    }

    fn path(&mut self) -> Result<Vec<PathStep>, ConditionError> {
        let mut steps = Vec::new();
        loop {
            if steps.len() >= MAX_STEPS {
                return Err(self.error(&format!("has more than {MAX_STEPS} steps")));
            }
            if self.eat(".") {
                let key = self.take_while(|c| c.is_alphanumeric() || "_-$@:/".contains(c));
                if key.is_empty() {
                    return Err(self.error("expected the name of a field"));
                }
                steps.push(PathStep::Key(key.to_owned()));
            } else if self.eat("[") {
                if self.rest().starts_with('"') {
                    steps.push(PathStep::Key(self.quoted()?));
                } else {
                    let digits = self.take_while(|c| c.is_ascii_digit());
                    let index = digits.parse().map_err(|_| self.error("expected an index or a field in quotes"))?;
                    steps.push(PathStep::Index(index));
                }
                self.expect("]")?;
            } else {
                return Ok(steps);
            }
        }
    }

    fn operator(&mut self) -> Result<Operator, ConditionError> {
        for (token, operator) in [
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ] {
            if self.eat(token) {
                return Ok(operator);
            }
        }
        Err(self.error("expected ==, !=, <, <=, > or >="))
    }

    fn right(&mut self, function: Function, subject: &Subject, operator: Operator) -> Result<Right, ConditionError> {
        let equality = matches!(operator, Operator::Equal | Operator::Unequal);
        match subject {
            Subject::ResponseTime => return self.duration(true).map(Right::Number),
            Subject::CertificateExpiration => return self.duration(false).map(Right::Number),
            _ => {}
        }
        if !equality || function == Function::Len {
            let begin = self.at;
            let number = self.rest().trim_end().parse::<f64>().ok().filter(|number| number.is_finite());
            self.at = self.text.len();
            return number.map(Right::Number).ok_or_else(|| Reader { at: begin, ..*self }.error("expected a number"));
        }
        if self.eat("any(") {
            return self.terms().map(Right::Any);
        }
        let begin = self.at;
        let term = self.term(|c| !c.is_control())?;
        let truth = matches!(&term, Term::Text { text, .. } if text == "true" || text == "false");
        if (function == Function::Has || *subject == Subject::Connected) && !truth {
            self.at = begin;
            return Err(self.error("expected true or false"));
        }
        Ok(Right::Any(vec![term]))
    }

    fn terms(&mut self) -> Result<Vec<Term>, ConditionError> {
        let mut terms = Vec::new();
        loop {
            self.skip_spaces();
            terms.push(self.term(|c| !matches!(c, ',' | ')'))?);
            self.skip_spaces();
            if self.eat(")") {
                return Ok(terms);
            }
            if terms.len() >= MAX_TERMS {
                return Err(self.error(&format!("has more than {MAX_TERMS} alternatives")));
            }
            if !self.eat(",") {
                return Err(self.error("expected \",\" or \")\""));
            }
        }
    }

    /// A pattern, a quoted text, or bare characters of this sort.
    fn term(&mut self, of_sort: impl Fn(char) -> bool) -> Result<Term, ConditionError> {
        if self.eat("pat(") {
            let pattern =
                if self.rest().starts_with('"') { self.quoted()? } else { self.take_while(|c| c != ')').to_owned() };
            self.expect(")")?;
            return Ok(Term::Pattern(Pattern::new(&pattern)));
        }
        if self.rest().starts_with('"') {
            return Ok(Term::Text { text: self.quoted()?, number: None });
        }
        let text = self.take_while(of_sort).trim();
        if text.is_empty() {
            return Err(self.error("expected a value, any(…) or pat(…)"));
        }
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        Ok(Term::Text { text: text.to_owned(), number })
    }

    fn quoted(&mut self) -> Result<String, ConditionError> {
        let begin = self.at;
        self.expect("\"")?;
        let mut text = String::new();
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices() {
            match c {
                _ if escaped => {
                    text.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    self.at += offset + 1;
                    return Ok(text);
                }
                _ => text.push(c),
            }
        }
        self.at = begin;
        Err(self.error("the quotes are not closed"))
    }

    /// In milliseconds. A number without a unit is milliseconds, if `bare`.
    fn duration(&mut self, bare: bool) -> Result<f64, ConditionError> {
        let example = if bare { "500, 500ms or 2s" } else { "14d or 48h" };
        let begin = self.at;
        let mut total = 0.0;
        loop {
            let digits = self.take_while(|c| c.is_ascii_digit() || c == '.');
            let unit = self.take_while(|c| c.is_ascii_lowercase());
            let number = digits.parse::<f64>().ok().filter(|number| number.is_finite());
            let scale = match unit {
                "" if bare && total == 0.0 => Some(1.0),
                "ms" => Some(1.0),
                "s" => Some(1_000.0),
                "m" => Some(60_000.0),
                "h" => Some(3_600_000.0),
                "d" => Some(86_400_000.0),
                _ => None,
            };
            let (Some(number), Some(scale)) = (number, scale) else {
                self.at = begin;
                return Err(self.error(&format!("expected a duration such as {example}")));
            };
            total += number * scale;
            if !self.rest().starts_with(|c: char| c.is_ascii_digit()) {
                return Ok(total);
            }
        }
    }
}
