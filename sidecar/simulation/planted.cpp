#include "sidecar/simulation/planted.h"

#include "core/planted_bugs.h"

namespace concord {
namespace {

constexpr const char* kNames[] = {
#define CONCORD_PLANTED_NAME(id, name) name,
    CONCORD_PLANTED(CONCORD_PLANTED_NAME)
#undef CONCORD_PLANTED_NAME
};
constexpr size_t kBugs = sizeof kNames / sizeof kNames[0];
size_t planted = kBugs;  // none

}  // namespace

bool Planted(PlantedBug bug) { return planted == static_cast<size_t>(bug); }

namespace simulation {

bool Plant(const std::string& name) {
  for (planted = 0; planted < kBugs && name != kNames[planted]; planted++) {
  }
  return planted < kBugs;
}

std::string PlantedNames() {
  std::string names;
  for (const char* name : kNames) names += (names.empty() ? "" : " ") + std::string(name);
  return names;
}

}  // namespace simulation
}  // namespace concord
