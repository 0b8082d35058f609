"""Readers of stored files, for every format that this package reads.

They open regular files only, bound every size before memory is taken, and execute nothing that a file holds.
Damage raises ValueError with one line; docs/security.md says what is promised.

- text.py: JSON
- npy.py: one NumPy array
- tensors.py: safetensors
- archives.py: zip files
- torch_file.py: what torch.save wrote
"""
