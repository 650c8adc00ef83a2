from tests.proof import io_errors


def test_an_error_at_any_call_to_the_file_system_loses_nothing_that_was_acknowledged() -> None:
    counts = io_errors.run(share=0.05, seed=5)
    assert counts["positions"] > 50
    assert counts["wrong"] == 0
    assert all(counts.get(outcome) for outcome in ("unknown", "refused")), counts
