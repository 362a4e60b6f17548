// What adjudicator and gateways know of a session beside its messages (proto/adjudicator.proto).
#pragma once

namespace concord {

// A key of the initial metadata that an adjudicator sends as soon as it has let a session in; the value says nothing.
// One that it refuses ends without.
inline constexpr char kSessionAdmitted[] = "concord-session-admitted";

}  // namespace concord
