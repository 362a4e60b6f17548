// The version that all programs of Concord bear.
#pragma once

namespace concord {

inline constexpr char kVersion[] = "0.1";

}  // namespace concord
