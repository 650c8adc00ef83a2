"""Row 3, a fallback that names nothing: a warning when the definition is checked, a manual task when it comes to that.

It catches: a run that fails in the place of the task; an answer that is not the step's result; a task that is lost with
its owner.
"""

from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import WorkflowDocument, compile_workflow, load
from tests.conformance.hosts import Host, workflow

STEPS = """
- {id: gather, agent: crew, action: refuse, inputs: {value: 1}, outputs: {notes: value}}
- {id: write, agent: crew, action: note, inputs: {value: $steps.gather.notes}, outputs: {value: value}}
"""
MORE = "error_handling: [{step: gather, on_failure: retry, max_retries: 1, fallback: manual_research}]"


def test_a_fallback_that_names_nothing_is_a_warning_and_a_persons_task(host: Host) -> None:
    text = workflow(STEPS, MORE)
    document = load(text, "row.yaml")
    assert isinstance(document, WorkflowDocument)
    assert [problem.code for problem in compile_workflow(document)[1]] == ["KOS213"]
    run = host.start(text)
    assert host.finish(run).status == "waiting"
    (task,) = [event for event in host.events(run) if isinstance(event, ev.ManualTaskRequested)]
    assert (task.path, task.task, task.rule) == ("gather", "manual_research", "error_handling[0]")
    assert [name for name, *_ in task.fields] == ["value"]
    host.crash(run)
    host.answer(run, "gather", value=[1, 2])
    ended = host.finish(run)
    assert (ended.status, ended.outputs) == ("completed", {"value": [1, 2]})
    assert host.executed(run) == ["gather", "write"], "what cannot be mended is not retried"
    assert host.violations(run) == []
