// Objects handed out through the wall, remembered so that all of them can be closed after an error, when nobody is left
// who would close them one by one. Not thread-safe.
#pragma once

#include <cstddef>
#include <vector>

namespace concord::bridge {

template <typename T>
class Registered {
 public:
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;

  static size_t Live() { return all_.size(); }
  template <typename Visit>
  static void ForEach(Visit visit) {
    for (T* each : all_) visit(each);
  }
  static void DeleteAll() {
    while (!all_.empty()) delete all_.back();
  }

 protected:
  Registered() : index_(all_.size()) { all_.push_back(static_cast<T*>(this)); }
  ~Registered() {
    all_[index_] = all_.back();
    all_[index_]->index_ = index_;
    all_.pop_back();
  }

 private:
  static inline std::vector<T*> all_;
  size_t index_;
};

}  // namespace concord::bridge
