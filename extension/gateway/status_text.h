// Status messages as lines "part.field=value", for CC_REQ_STATUS.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

namespace concord {

// Appends every field of a message. Of repeated messages the first eight, as "part.field.number.field=value".
void AppendStatus(std::string* to, std::string_view part, const google::protobuf::Message& message);

}  // namespace concord
