"""Why an item is an answer."""

from __future__ import annotations

import numpy as np
import pytest

from mmsc_cli.errors import MmscError
from mmsc_cli.index.index_file import Index
from mmsc_cli.infer.explain import Explanation
from mmsc_cli.infer.recommender import Recommender
from mmsc_cli.workspace.workspace import Workspace


def _why(recommender: Recommender, item_id: str, place: int) -> Explanation:
    why = recommender.complements(item_id, explain=True)[place].why
    assert why is not None
    return why


def test_a_known_pair_is_explained_by_all_that_is_known_of_it(hand_made: Recommender) -> None:
    why = _why(hand_made, "I00", 0)

    assert (why.network_score, why.linear_score) == (-1, 0.25)
    assert [why.strength, why.reliability] == pytest.approx([1, 0.9])
    assert (why.shared_neighbours, why.shared) == (1, ["I02"])
    assert (why.label, why.label_model) == ("complement", "judge")
    assert why.label_probability == pytest.approx(0.7)
    assert (why.query_gate, why.query_gate_weight) == ("view", 1.5)
    assert (why.answer_gate, why.answer_gate_weight) == ("view", 1.5)
    assert (why.text_similarity, why.image_similarity) == (None, None)
    assert str(why) == (
        "viewed and bought together; same category; 20 % cheaper; "
        "score -1.000 network + 0.250 linear; known pair, strength 1.00, reliability 0.90; 1 shared neighbours: I02; "
        "label complement 0.70 by judge; query gate view 1.50; answer gate view 1.50"
    )


@pytest.mark.parametrize(
    ("views", "purchases", "orders", "sentence"),
    [
        (44, 1, True, "viewed together in 44 sessions, bought together in 1 order; same category; 20 % cheaper"),
        (1, 3, False, "viewed together in 1 session, bought together in 3 sessions; same category; 20 % cheaper"),
        (44, 0, True, "viewed together in 44 sessions, bought together; same category; 20 % cheaper"),
    ],
)
def test_the_sentence_says_how_often(
    hand_made: Recommender, views: int, purchases: int, orders: bool, sentence: str
) -> None:
    index, known = hand_made.index, len(hand_made.index.known.indices)
    tensors = dict(index.tensors) | {
        "known.together.substitute": np.full(known, views, np.int32),
        "known.together.complement": np.full(known, purchases, np.int32),
    }
    counted = Recommender(Index(tensors, {**index.about, "orders": orders}), hand_made._root)
    why = _why(counted, "I00", 0)

    assert why.summary == sentence
    assert str(why).startswith(sentence)
    assert (why.viewed_together, why.bought_together) == (views, purchases or None)


def test_a_stranger_is_explained_by_what_there_is(hand_made: Recommender) -> None:
    why = _why(hand_made, "I00", 2)

    assert (why.strength, why.reliability, why.shared_neighbours, why.shared, why.label) == (None, None, 0, [], None)
    assert "no known pair; 0 shared neighbours;" in str(why)


def test_a_pair_seen_but_never_weighed_has_no_reliability(hand_made: Recommender) -> None:
    why = _why(hand_made, "I01", 1)

    assert (why.strength, why.reliability) == (0.25, None)


def test_similarities_are_those_of_the_embeddings(trained: Workspace) -> None:
    recommender = Recommender.open(trained.root)
    text, image, mask = (np.load(trained.path(f"embeddings/{name}.npy")) for name in ("text", "image", "mask"))
    compared = 0
    for row in range(0, len(recommender), 25):
        for answer in recommender.substitutes(recommender.index.ids[row], 3, explain=True):
            other = recommender.index.row(answer.item)
            assert answer.why is not None
            for column, (vectors, found) in enumerate(
                ((text, answer.why.text_similarity), (image, answer.why.image_similarity))
            ):
                if mask[row, column] and mask[other, column]:
                    expected = float(vectors[row].astype(np.float32) @ vectors[other].astype(np.float32))
                    assert found == pytest.approx(expected, abs=1e-5)
                    compared += 1
                else:
                    assert found is None
    assert compared > 10


def test_embeddings_of_another_run_are_not_compared(trained_copy: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    manifest = trained_copy.manifest()
    manifest.stages["encode"].files["embeddings/encoder.json"].sha256 = "0" * 64
    trained_copy._write_manifest(manifest)
    recommender = Recommender.open(trained_copy.root)
    (answer,) = recommender.substitutes(recommender.index.ids[0], 1, explain=True)

    assert answer.why is not None
    assert answer.why.text_similarity is None
    assert "not what this index was made from" in caplog.text


def test_the_evidence_is_what_the_judged_index_was_made_from(
    trained: Workspace, demo_settings: tuple[str, ...]
) -> None:
    from mmsc_cli.recipe.loading import load_recipe
    from mmsc_cli.rules.pair_rules import PairRules
    from mmsc_cli.tables.labels import Labels
    from mmsc_cli.tables.relations import RELATIONS
    from mmsc_cli.train.export import edge_table
    from mmsc_cli.train.inputs import Plan, read_inputs
    from mmsc_cli.train.known import Catalogue, Known, Visible
    from mmsc_cli.train.network import denoise
    from mmsc_cli.train.ranking.evidence import Evidence
    from mmsc_cli.train.student.student import teach
    from mmsc_cli.train.student.views import PairViews

    recipe = load_recipe("demo", demo_settings)
    plan = Plan(recipe.seed, labels=trained.path("labels.parquet"))
    inputs = read_inputs(trained, plan)

    def know(visible: Visible) -> Known:
        catalogue = Catalogue(inputs.features, visible.has_behaviour, recipe.train.neighbours)
        return Known(catalogue, visible, recipe.train.linear_top)

    training = know(inputs.training())
    views = PairViews(Evidence(training), PairRules(inputs.items), recipe.train.rerank_candidates)
    student = teach(views, inputs.labels, plan.seed)
    denoiser = denoise(training, student, recipe.train, plan).denoiser
    visible = inputs.judging()
    reliability = denoise(know(visible), student, recipe.train, plan, denoiser).reliability
    assert reliability is not None
    edges, labels = edge_table(visible.pairs, reliability), Labels.read(trained.path("labels.parquet"))
    explainer = Recommender.open(trained.root, judged=True)._explainer
    for row in range(0, len(edges), 97):
        a, b = int(edges.a[row]), int(edges.b[row])
        for relation in RELATIONS:
            for query, answer in ((a, b), (b, a)):
                strength, trust = explainer._tie(query, relation, answer)
                if edges.strength[relation][row] > 0:
                    assert strength == pytest.approx(edges.strength[relation][row])
                    assert trust == pytest.approx(edges.reliability[relation][row])
                else:
                    assert (strength, trust) == (None, None)
    for row in range(0, len(labels), 29):
        name, share, model = explainer._label(int(labels.b[row]), int(labels.a[row]))
        likeliest = labels.probabilities()[row].max()
        assert (name is not None, model) == (True, labels.model[row])
        assert share == pytest.approx(likeliest)


def test_pairs_are_explained_in_the_likelier_relation(trained: Workspace) -> None:
    recommender = Recommender.open(trained.root)
    first, second = recommender.index.ids[0], recommender.index.ids[1]
    (opinion,) = recommender.judge([(first, second)], explain=True)

    assert not isinstance(opinion, MmscError)
    assert opinion.why is not None
    relation = "substitute" if opinion.p_substitute >= opinion.p_complement else "complement"
    expected = recommender.index.pair_scores(relation, np.array([0]), np.array([1]))[0]  # type: ignore[arg-type]
    assert opinion.why.network_score is not None
    assert opinion.why.linear_score is not None
    assert opinion.why.network_score + opinion.why.linear_score == pytest.approx(expected, rel=1e-5)
