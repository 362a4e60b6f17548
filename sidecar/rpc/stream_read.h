// Reads from a client's stream, and tells the end of the stream from a message that cannot be parsed, which gRPC does
// not: both are a Read that fails. But only the latter clears the message first, so a mark in it goes.
//
// As thread-safe as the stream.
#pragma once

#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

namespace concord {

// False at the end of the stream, and at a message that cannot be parsed: then *unparsable is true.
template <typename Stream, typename Message>
bool ReadFrom(Stream* stream, Message* message, bool* unparsable) {
  constexpr int kMark = 536'870'911;  // the highest field number there is
  google::protobuf::UnknownFieldSet* const unknown = message->GetReflection()->MutableUnknownFields(message);
  unknown->AddVarint(kMark, 0);
  const bool read = stream->Read(message);
  *unparsable = !read && (unknown->empty() || unknown->field(unknown->field_count() - 1).number() != kMark);
  return read;
}

}  // namespace concord
