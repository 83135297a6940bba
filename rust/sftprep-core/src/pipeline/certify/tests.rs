//! What certificates say of templates that are easy to judge by eye.

use super::*;

fn of(template: &str) -> Certificate {
    check_template(template, &PackConfig::default()).unwrap()
}

fn shape<'c>(certificate: &'c Certificate, name: &str) -> &'c ShapeReport {
    let found = certificate.shapes.iter().find(|shape| shape.name == name);
    found.unwrap()
}

#[test]
fn chatml_is_proven_for_every_shape_with_its_stop_inside() {
    let certificate = of("chatml");
    for shape in &certificate.shapes {
        assert_eq!(shape.outcome, Outcome::Proven, "{shape:?}");
        assert_eq!(shape.control_ids_from_content, 0);
        assert_eq!(shape.left_out, [""; 0], "{}", shape.name);
        for turn in &shape.turns {
            assert_eq!(turn.stop.as_deref(), Some("<|im_end|>"));
        }
    }
    assert!(certificate.proven && certificate.stop_always_inside && certificate.tokenizer);
    assert!(!certificate.rewrites_history && certificate.tags_disagree.is_empty());
    let control = &certificate.control_tokens;
    assert!(
        control
            .iter()
            .any(|it| it.token == "<|im_end|>" && it.class == "control")
    );
}

#[test]
fn a_certificate_names_refusals_rewritten_history_and_what_is_left_out() {
    let silent = "{% for m in messages %}{% if m.role != 'system' %}<|{{ m.role }}|>\
        {{ m.content }}<|end|>{% endif %}{% endfor %}\
        {% if add_generation_prompt %}<|assistant|>{% endif %}";
    let certificate = of(silent);
    assert!(certificate.proven && !certificate.tokenizer);
    assert_eq!(
        shape(&certificate, "system").left_out,
        ["messages[0].content"]
    );
    assert_eq!(shape(&certificate, "tools").left_out, ["tools"]);
    assert_ne!(shape(&certificate, "tools").outcome, Outcome::Proven);

    let last_only = "{% for m in messages %}<|{{ m.role }}|>\
        {{ m.content if loop.last or m.role != 'assistant' else 'gone' }}<|end|>{% endfor %}\
        {% if add_generation_prompt %}<|assistant|>{% endif %}";
    let certificate = of(last_only);
    assert!(certificate.rewrites_history && certificate.proven);
    let per_turn = shape(&certificate, "multi_turn");
    assert!(per_turn.samples > 1 && per_turn.samples as usize == per_turn.turns.len());
    assert_eq!(shape(&certificate, "plain").samples, 1);

    let forgetful = "{% for m in messages %}<|{{ m.role }}|>\
        {{ m.content if loop.length < 4 or m.role != 'assistant' else 'gone' }}<|end|>{% endfor %}\
        {% if add_generation_prompt %}<|assistant|>{% endif %}";
    let certificate = of(forgetful);
    assert!(!certificate.proven);
    let refused = &shape(&certificate, "multi_turn").turns[0];
    assert!(
        !refused.rule.is_empty() && !refused.detail.is_empty(),
        "{refused:?}"
    );

    let strict = "{{ raise_exception('no system') if messages[0].role == 'system' }}\
        {% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}\
        {% if add_generation_prompt %}<|assistant|>{% endif %}";
    let certificate = of(strict);
    assert_eq!(
        shape(&certificate, "system").outcome,
        Outcome::TemplateRefuses
    );
    assert!(certificate.proven);
}

#[test]
fn the_hash_depends_on_the_template_and_not_on_the_date() {
    let with_date = |date: &str| {
        let mut config = PackConfig::default();
        date.clone_into(&mut config.template.date);
        let source = "{{ strftime_now('%d') }}{% for m in messages %}<|{{ m.role }}|>\
            {{ m.content }}<|end|>{% endfor %}";
        check_template(source, &config).unwrap().blake3()
    };
    assert_eq!(with_date("2024-02-03"), with_date("2025-11-12"));
    assert_ne!(of("chatml").blake3(), of("vicuna").blake3());
}
