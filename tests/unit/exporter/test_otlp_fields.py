"""Every field of OTLP's trace data is read, or is left out on purpose."""

import pytest
from google.protobuf.descriptor import Descriptor
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_usage.exporter.otlp import decoding as otlp
from otel_usage.exporter.otlp import protobuf as otlp_protobuf

# Field -> why nothing of it is kept.
LEFT_OUT = {
    "ResourceSpans.schema_url": "both generations of names are read, whatever the schema says",
    "ScopeSpans.schema_url": "both generations of names are read, whatever the schema says",
    "Resource.dropped_attributes_count": "says what the SDK dropped of the OTel resource; of no request",
    "Resource.entity_refs": "names those attributes of the OTel resource that identify it; they are read anyway",
    "InstrumentationScope.version": "which release of an instrumentation saw the request is no question about usage",
    "InstrumentationScope.attributes": "of the instrumentation, not of the request",
    "InstrumentationScope.dropped_attributes_count": "of the instrumentation, not of the request",
    "Span.trace_state": "belongs to tracing vendors",
    "Span.dropped_attributes_count": "what the SDK dropped cannot be had back",
    "Span.dropped_events_count": "of events only the exception's type is read",
    "Span.links": "name other traces; their attributes may hold what nothing has cleaned",
    "Span.dropped_links_count": "links are not read",
    "Event.time_unix_nano": "the request's own times are kept",
    "Event.dropped_attributes_count": "of events only the exception's type is read",
    "Status.message": "free text of an application: it may hold anything",
    "KeyValue.key_strindex": "of profiles: there is no table of strings in trace data",
    "AnyValue.string_value_strindex": "of profiles: there is no table of strings in trace data",
}


def fields_of(message: Descriptor, seen: set[str]) -> dict[str, str]:
    """Every field that can be reached through those that are read: "Message.field" -> the field's name in JSON."""
    if message.full_name in seen:
        return {}
    seen.add(message.full_name)
    found = {}
    for field in message.fields:
        name = f"{message.name}.{field.name}"
        found[name] = field.json_name
        if field.message_type is not None and name not in LEFT_OUT:
            found |= fields_of(field.message_type, seen)
    return found


OFFICIAL = fields_of(ExportTraceServiceRequest.DESCRIPTOR, set())
READ = {f"{message.DESCRIPTOR.name}.{name}" for message, names in otlp_protobuf._READ.items() for name in names}


def test_every_field_is_decided():
    """A field is read or has a reason not to be; nothing else is in either list."""
    reserved = {name for name in LEFT_OUT if name.endswith("_strindex")}  # of newer releases of the protocol
    assert READ | LEFT_OUT.keys() == OFFICIAL.keys() | reserved
    assert not READ & LEFT_OUT.keys()


@pytest.mark.parametrize("message", otlp_protobuf._READ, ids=lambda message: message.DESCRIPTOR.name)
def test_numbers_are_the_protocols(message):
    """What is read has the number of the official message, and none of its own."""
    ours = otlp_protobuf._CLASSES[message].DESCRIPTOR
    official = {field.name: (field.number, field.is_repeated) for field in message.DESCRIPTOR.fields}
    assert {field.name: (field.number, field.is_repeated) for field in ours.fields}.items() <= official.items()


def test_json_reads_the_same():
    """The JSON decoder reads the same fields under their JSON names."""
    structs = [each for each in vars(otlp).values() if hasattr(each, "__struct_encode_fields__")]

    def names(struct: type, seen: set[type]) -> set[str]:
        if struct in seen:
            return set()
        seen.add(struct)
        found = set(struct.__struct_encode_fields__)
        for hint in struct.__annotations__.values():
            for other in structs:
                if other.__name__ in str(hint):
                    found |= names(other, seen)
        return found

    assert names(otlp._Request, set()) == {OFFICIAL[field] for field in READ}
