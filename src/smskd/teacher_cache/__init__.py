"""The orbit cache: the teacher's logits and pooled features, computed once for each picture that augmentation can make.

Crop and flip have finitely many outcomes (9 x 9 offsets x 2 = 162 with 4 pixels of padding), so the teacher's outputs
of each (sample, variant) are kept as float16 and shared by epochs and, on disk, by runs and processes. Where transforms
have no countable outcomes, ``replay`` keeps the outputs of each (epoch, sample) instead.
"""

from smskd.config.cache import MODES, CacheConfig, CacheMode
from smskd.teacher_cache.cache import TeacherCache, cacheable
from smskd.teacher_cache.key import Key, key_of, replayed_seed

__all__ = ["MODES", "CacheConfig", "CacheMode", "Key", "TeacherCache", "cacheable", "key_of", "replayed_seed"]
