"""The cache of the teacher's outputs: logits and pooled features, computed once for each augmented image.

Random crop and flip have finitely many outcomes (9 x 9 offsets x 2 = 162 with 4 pixels of padding), so the teacher's
outputs for each (sample, augmentation variant) are kept as float16 and shared by epochs and, on disk, by runs and
processes. Where the outcomes of the transforms cannot be counted, ``replay`` keeps the outputs of each (epoch, sample)
instead.

``cache`` looks outputs up and computes the missing ones; ``record_index`` numbers the records, ``codec`` packs outputs
into them, ``storage`` keeps them in memory or in files; ``key`` and ``folder`` identify a cache on disk; ``capacity``
refuses one that does not fit; ``chunks`` runs the teacher reproducibly.
"""

from smskd.config.cache import MODES, CacheConfig, CacheMode
from smskd.teacher_cache.cache import TeacherCache, cacheable
from smskd.teacher_cache.folder import replayed_seed
from smskd.teacher_cache.key import Key, key_of

__all__ = ["MODES", "CacheConfig", "CacheMode", "Key", "TeacherCache", "cacheable", "key_of", "replayed_seed"]
