"""LiftNet: 3D from one view, metric and honest about its uncertainty.

`settings` and `weights` are light; everything else imports torch when it is used.
"""
