#include "gateway/status_text.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>

namespace concord {

namespace {

constexpr int kRepeatedMax = 8;

}  // namespace

void AppendStatus(std::string* to, std::string_view part, const google::protobuf::Message& message) {
  using google::protobuf::FieldDescriptor;
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const google::protobuf::Descriptor& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); i++) {
    const FieldDescriptor* field = descriptor.field(i);
    if (field->is_repeated()) {
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
      for (int n = 0; n < std::min(reflection.FieldSize(message, field), kRepeatedMax); n++) {
        std::string name(part);
        name.append(".").append(field->name()).append(".").append(std::to_string(n));
        AppendStatus(to, name, reflection.GetRepeatedMessage(message, field, n));
      }
      continue;
    }
    std::string value;
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_UINT64: value = std::to_string(reflection.GetUInt64(message, field)); break;
      case FieldDescriptor::CPPTYPE_UINT32: value = std::to_string(reflection.GetUInt32(message, field)); break;
      case FieldDescriptor::CPPTYPE_INT64: value = std::to_string(reflection.GetInt64(message, field)); break;
      case FieldDescriptor::CPPTYPE_BOOL: value.assign(1, reflection.GetBool(message, field) ? '1' : '0'); break;
      case FieldDescriptor::CPPTYPE_STRING: value = reflection.GetString(message, field); break;
      default: continue;
    }
    to->append(part).append(".").append(field->name()).append("=").append(value).append("\n");
  }
}

}  // namespace concord
